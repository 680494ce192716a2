"""Golden inputs and what the reference makes of them, once a model and not once a candidate."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage import keys
from storage.port import ObjectDamaged, ObjectNotFound, ObjectStore
from tinymlaas.contract.digest import digest_of
from tinymlaas.contract.jobs import CandidateJob
from tinymlaas.contract.tensors import TensorSpec
from workers.golden import Golden
from workers.sources import service_digest

GOLDEN_SAMPLES = 3
_LIBRARIES = ("onnxruntime", "ai-edge-litert", "tflite-micro", "numpy")  # their versions decide

Array = NDArray[Any]


@dataclass(frozen=True)
class Reference:
    """Golden vectors and which implementation computed their outputs; `exact` if to the bit."""

    name: str
    golden: Golden
    exact: bool = False


def reference_of(data: bytes, job: CandidateJob) -> Reference:
    """Return golden inputs of the job's model `data` and what the reference makes of them.

    Raises:
        UnsupportedModel: the reference lacks an operator, or refuses the model.
    """
    from workers.models.golden import golden_inputs
    from workers.models.reference import open_reference

    reference = open_reference(data, job.task.format, job.task.summary.dtype)
    inputs = golden_inputs(job.task.summary, GOLDEN_SAMPLES)
    outputs = [reference.run(sample) for sample in inputs]
    stacked = (
        tuple(np.stack(tensor) for tensor in zip(*side, strict=True)) for side in (inputs, outputs)
    )
    return Reference(reference.name, Golden(*stacked), reference.exact)


def stored_reference(
    job: CandidateJob, store: ObjectStore, compute: Callable[[], Reference]
) -> Reference:
    """Return what the store has of the job's model, else what `compute` returns, and keep that.

    Raises:
        StoreError: the store fails.
    """
    key = _key(job)
    try:
        return _decoded(store.get(key), job)
    except ObjectNotFound:
        pass
    except (ObjectDamaged, ValueError):
        store.delete(key)  # nobody can use it: computed anew
    found = compute()
    store.put_if_absent(key, _encoded(found))
    return found


def _key(job: CandidateJob) -> keys.Key:
    facts = {
        "service": service_digest(),
        "samples": GOLDEN_SAMPLES,
        "summary": job.task.summary.model_dump(mode="json"),
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }
    return keys.model_reference(job.static_digest, digest_of(facts))


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _encoded(reference: Reference) -> bytes:
    arrays = {f"input_{i}": array for i, array in enumerate(reference.golden.inputs)}
    arrays |= {f"output_{i}": array for i, array in enumerate(reference.golden.outputs)}
    file = io.BytesIO()
    np.savez(file, name=np.array(reference.name), exact=np.array(reference.exact), **arrays)
    return file.getvalue()


def _decoded(data: bytes, job: CandidateJob) -> Reference:
    """Return the reference in `data`; raises `ValueError` if it is not whole."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            inputs = _tensors(file, "input", job.task.summary.inputs)
            outputs = _tensors(file, "output", job.task.summary.outputs)
            return Reference(str(file["name"]), Golden(inputs, outputs), bool(file["exact"]))
    except Exception as error:  # whatever zlib, zipfile and numpy trip over, the bytes are damaged
        raise ValueError(f"no reference: {error}") from error


def _tensors(file: Any, side: str, specs: Sequence[TensorSpec]) -> tuple[Array, ...]:
    found = tuple(file[f"{side}_{i}"] for i in range(len(specs)))
    for array, spec in zip(found, specs, strict=True):
        if array.dtype != spec.dtype.value or array.shape != (GOLDEN_SAMPLES, *spec.shape):
            raise ValueError(f"{side} {spec.name!a} is {array.dtype} {array.shape}")
    return found
