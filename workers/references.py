"""Golden inputs and what the reference makes of them, once a model and not once a candidate.

Each pool has its own: by these outputs its workers judge what they sign.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from storage import keys
from storage.port import ObjectDamaged, ObjectNotFound, ObjectStore
from tinymlaas.contract.base import Model
from tinymlaas.contract.digest import digest_of
from tinymlaas.contract.errors import CompilerCrashed, UsageError
from tinymlaas.contract.jobs import CandidateJob
from tinymlaas.contract.tensors import TensorSpec
from workers import sandbox
from workers.golden import Golden
from workers.inspecting import check_boundary
from workers.npz import Npz
from workers.sandbox import Step
from workers.sources import service_digest
from workers.zips import ZipLimits

GOLDEN_SAMPLES = 3
_LONGEST_NAME = 100
_NAME = "name"
_BESIDES_BYTES = 2048  # of each array in the file: its header, its entries, and all of `_Name`
_LIBRARIES = ("onnxruntime", "ai-edge-litert", "tflite-micro", "numpy")  # their versions decide

Array = NDArray[Any]


@dataclass(frozen=True)
class Reference:
    """Golden vectors and which implementation computed their outputs; `exact` if to the bit."""

    name: str
    golden: Golden
    exact: bool = False


@dataclass(frozen=True)
class Answers:
    """What a reference says of some samples: its name, its outputs for each, and if to the bit."""

    name: str
    outputs: list[list[Array]]
    exact: bool


def reference_of(data: bytes, job: CandidateJob) -> Reference:
    """Return golden inputs of the job's model `data` and what the reference makes of them.

    The reference reads the model inside the sandbox. The inputs are chosen here, and what comes
    out has to be outputs of the model for these.

    Raises:
        UnsupportedModel: the reference lacks an operator, or refuses the model.
        CompilerCrashed: it crashed, or gave what cannot be the model's outputs; or the summary
            that the job came with is beyond what is taken.
    """
    from workers.models.golden import golden_inputs

    summary = job.task.summary
    check_boundary(summary)
    inputs = golden_inputs(summary, GOLDEN_SAMPLES)
    answers: Answers = sandbox.call(
        "workers.references:answers_of",
        data,
        job,
        inputs,
        returns=Answers,
        step=Step.REFERENCE,
        what="the reference",
    )
    _check(answers, summary.outputs)
    golden = Golden(_stacked(inputs), _stacked(answers.outputs))
    return Reference(answers.name, golden, answers.exact)


def answers_of(data: bytes, job: CandidateJob, inputs: list[list[Array]]) -> Answers:
    """Return what the reference says of `inputs`; called inside."""
    from workers.models.reference import open_reference

    reference = open_reference(data, job.task.format, job.task.summary.dtype)
    return Answers(reference.name, [reference.run(each) for each in inputs], reference.exact)


def _check(answers: Answers, specs: Sequence[TensorSpec]) -> None:
    wanted = [(np.dtype(spec.dtype.value), spec.shape) for spec in specs]
    for sample in answers.outputs:
        if [(array.dtype, array.shape) for array in sample] != wanted:
            raise CompilerCrashed("the reference gave outputs that are not those of the model")
    if len(answers.outputs) != GOLDEN_SAMPLES:
        raise CompilerCrashed("the reference gave other samples than it was asked for")
    if not answers.name.isprintable() or not 0 < len(answers.name) <= _LONGEST_NAME:
        raise CompilerCrashed("the reference has a name that is none")


def _stacked(samples: list[list[Array]]) -> tuple[Array, ...]:
    return tuple(np.stack(tensor) for tensor in zip(*samples, strict=True))


def stored_reference(
    job: CandidateJob, pool: str, store: ObjectStore, compute: Callable[[], Reference]
) -> Reference:
    """Return what `pool` has stored of the job's model, else what `compute` gives, and keep that.

    Raises:
        StoreError: the store fails.
    """
    key = _key(job, pool)
    try:
        return _stored(key, job, store)
    except ObjectNotFound:
        pass
    except (ObjectDamaged, ValueError):
        store.delete(key)  # nobody can use it: computed anew
    found = compute()
    store.put_if_absent(key, _encoded(found))
    return found


def _key(job: CandidateJob, pool: str) -> keys.Key:
    facts = {
        "service": service_digest(),
        "samples": GOLDEN_SAMPLES,
        "summary": job.task.summary.model_dump(mode="json"),
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }
    return keys.model_reference(pool, job.static_digest, digest_of(facts))


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


class _Name(Model):
    """Who has computed the outputs, as it stands in a stored reference."""

    name: Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME)]
    exact: bool


def _encoded(reference: Reference) -> bytes:
    arrays = {f"input_{i}": array for i, array in enumerate(reference.golden.inputs)}
    arrays |= {f"output_{i}": array for i, array in enumerate(reference.golden.outputs)}
    name = _Name(name=reference.name, exact=reference.exact).model_dump_json().encode()
    file = io.BytesIO()
    np.savez(file, **{_NAME: np.frombuffer(name, np.uint8)}, **arrays)
    return file.getvalue()


def _stored(key: keys.Key, job: CandidateJob, store: ObjectStore) -> Reference:
    """Return the stored reference; nothing is read that is larger than one of this job's is.

    Raises:
        ObjectNotFound: there is none.
        ValueError: it is not whole, or not of this job.
    """
    summary = job.task.summary
    specs = (*summary.inputs, *summary.outputs)
    members = len(specs) + 1
    bound = GOLDEN_SAMPLES * sum(spec.nbytes for spec in specs) + members * _BESIDES_BYTES
    found = store.head(key)
    if found is None:
        raise ObjectNotFound(f"{key.path} is not there")
    if found.size > bound:
        raise ValueError(f"no reference: {found.size} bytes")
    try:
        file = Npz(store.get(key), key.path, ZipLimits(members=members, unpacked_bytes=bound))
        name = _Name.model_validate_json(_array(file, _NAME).tobytes())
        inputs = _tensors(file, "input", summary.inputs)
        outputs = _tensors(file, "output", summary.outputs)
    except UsageError as error:
        raise ValueError(f"no reference: {error}") from error
    if not name.name.isprintable():
        raise ValueError("no reference: its name is none")
    return Reference(name.name, Golden(inputs, outputs), name.exact)


def _tensors(file: Npz, side: str, specs: Sequence[TensorSpec]) -> tuple[Array, ...]:
    found = tuple(_array(file, f"{side}_{i}") for i in range(len(specs)))
    for array, spec in zip(found, specs, strict=True):
        if array.dtype != spec.dtype.value or array.shape != (GOLDEN_SAMPLES, *spec.shape):
            raise ValueError(f"{side} {spec.name!a} is {array.dtype} {array.shape}")
    return found


def _array(file: Npz, name: str) -> Array:
    array = file.get(name)
    if array is None:
        raise ValueError(f"no reference: {name} is missing")
    return array
