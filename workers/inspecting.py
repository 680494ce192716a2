"""Inspect a model once: what came of it is kept, and taken from there as long as it is whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from storage import keys
from storage.port import ObjectDamaged, ObjectNotFound, ObjectStore
from tinymlaas.contract.digest import digest_of, sha256
from tinymlaas.contract.errors import CompilerCrashed, UnsupportedModel
from tinymlaas.contract.jobs import Inspection
from tinymlaas.contract.model import ModelSummary
from tinymlaas.contract.progress import Progress
from workers import guardian, sandbox
from workers.models.summary import Inspected, check_reasonable


@dataclass(frozen=True)
class ModelSource:
    """A model file: its SHA-256, its name for reasons, and how its bytes are got if need be."""

    digest: str
    name: str
    read: Callable[[], bytes]


def inspect_stored(
    model: ModelSource,
    shapes: Mapping[str, tuple[int, ...]],
    service: str,
    store: ObjectStore,
    progress: Progress,
) -> Inspection:
    """Inspect a model in a sandbox, or take the result from the store.

    `service` is the version of our own part of the work; another one inspects anew.

    Raises:
        Rejection: the model is not accepted; see `workers.models.summary.inspect`.
        CompilerCrashed: what came out of the sandbox cannot be what was found in the model.
        StoreError: the store fails, or lacks a model that is read from it.
    """
    facts = {"shapes": {k: list(v) for k, v in shapes.items()}, "service": service}
    key = keys.model_summary(model.digest, digest_of(facts)[:40])
    stored = _stored(key, store)
    if stored is not None:
        return stored
    data = model.read()
    progress.stage("model", "inspecting")
    with guardian.scratch("inspect") as scratch:
        found = sandbox.call(
            "workers.models.summary:inspect",
            data,
            model.name,
            dict(shapes),
            returns=Inspected,
            step=sandbox.Step.INSPECT,
            log=scratch / "log",
            what="inspecting the model",
        )
    _check(found)
    progress.end("model", "inspected")
    store.put(keys.blob_of(found.model), found.model)
    inspection = Inspection(
        source_digest=model.digest, static_digest=sha256(found.model), summary=found.summary
    )
    store.put_if_absent(key, inspection.model_dump_json().encode())
    return inspection


def check_boundary(summary: ModelSummary) -> None:
    """Refuse a summary by which nothing must be allocated.

    An honest inspection has ended before, with what was refused; so this one was led astray.

    Raises:
        CompilerCrashed: its inputs and outputs, or its costs, are beyond what is taken.
    """
    try:
        check_reasonable(summary)
    except UnsupportedModel as error:
        raise CompilerCrashed(f"inspecting the model gave what is never given: {error}") from error


def _check(found: Inspected) -> None:
    check_boundary(found.summary)
    if (found.summary.digest, found.summary.format) != (sha256(found.model), found.format):
        raise CompilerCrashed("inspecting the model gave a summary of another model")


def _stored(key: keys.Key, store: ObjectStore) -> Inspection | None:
    """Return a stored inspection if it and its model are whole; what is damaged is dropped."""
    try:
        found = Inspection.model_validate_json(store.get(key))
    except ObjectNotFound:
        return None
    except (ValidationError, ObjectDamaged):
        store.delete(key)
        return None
    try:
        store.get(keys.blob(found.static_digest))
    except (ObjectNotFound, ObjectDamaged):
        store.delete(key)
        return None
    return found
