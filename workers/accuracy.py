"""How often a finished module is right on labelled samples, run where modules are verified."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from storage import keys
from storage.archive import read_archive
from storage.port import ObjectDamaged, ObjectNotFound, ObjectStore
from tinymlaas.contract.base import Model
from tinymlaas.contract.digest import digest_of, sha256
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.tensors import TensorSpec
from workers.reading import read_samples
from workers.replay import run_archive
from workers.samples import Samples, accuracy, labelled


class Accuracy(Model):
    """Finished work: `module` was right on the share `accuracy` of `samples` labelled samples."""

    module: str
    data: str
    samples: int
    accuracy: float


def accuracy_of(
    module: str, data: bytes, name: str, store: ObjectStore, cache: Path, service: str, pool: str
) -> Accuracy:
    """Run the stored module of digest `module` on the npz file `data`, or take what `pool` knows.

    Raises:
        UsageError: the file holds no labels, or its samples do not go with the module.
        StoreError: the store lost the module.
        Failure: the module faulted, or a tool is missing or failed.
    """
    known = known_accuracy(module, data, store, service, pool)
    if known is not None:
        return known
    archive = read_archive(store.get(keys.module_archive(module)))
    specs = [tensor.spec for tensor in archive.manifest.inputs]
    loaded = labelled_samples(data, name, specs, archive.manifest.outputs[0].spec)
    ran = run_archive(archive, loaded.samples, cache)
    share = accuracy([sample[0] for sample in ran.outputs], loaded.labels)
    found = Accuracy(
        module=module, data=sha256(data), samples=len(loaded.samples), accuracy=share or 0.0
    )
    store.put_if_absent(_key(module, data, service, pool), found.model_dump_json().encode())
    return found


def labelled_samples(
    data: bytes, name: str, specs: Sequence[TensorSpec], output: TensorSpec
) -> Samples:
    """Read samples for inputs of `specs`, labelled with the index of an element of `output`.

    Raises:
        UsageError: there are no labels or other ones, or see `workers.reading.read_samples`.
    """
    loaded = read_samples(data, name, specs)
    labels = labelled(loaded.labels, name)
    strange = [int(label) for label in labels if not 0 <= label < output.size]
    if strange:
        raise UsageError(
            f"{name}: label {strange[0]} is no class: output '{output.name}' has {output.size}"
        )
    return loaded


def known_accuracy(
    module: str, data: bytes, store: ObjectStore, service: str, pool: str
) -> Accuracy | None:
    """Return what `pool` has stored if it is whole; what is damaged is dropped.

    Raises:
        StoreError: the store does not answer.
    """
    key = _key(module, data, service, pool)
    try:
        return Accuracy.model_validate_json(store.get(key))
    except ObjectNotFound:
        return None
    except (ValidationError, ObjectDamaged):
        store.delete(key)
        return None


def _key(module: str, data: bytes, service: str, pool: str) -> keys.Key:
    facts = {"module": module, "data": sha256(data), "service": service}
    return keys.accuracy(pool, digest_of(facts))
