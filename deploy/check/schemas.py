"""Objects against their schemas: Kubernetes' own of three versions, those of the operators' kinds.

Kubernetes' are those that the package kubernetes-validate has, in its strict form, read once; what
it finds is what ``kubernetes-validate --strict`` finds, with every mistake of an object and not the
first alone. The operators' are in ``schemas/``, each with where it is from.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.check.model import Finding, Object, Overlay

_FOLDER = Path(__file__).parent / "schemas"
_NEWEST = 3
_MOST_SAID = 200


@functools.cache
def versions() -> tuple[str, ...]:
    """Return the Kubernetes versions that are checked, the newest last: those in support."""
    from kubernetes_validate import utils  # type: ignore[import-untyped]

    minors = dict.fromkeys(utils.major_minor(each) for each in utils.all_versions())
    return tuple(minors)[-_NEWEST:]


def check(overlay: Overlay) -> Iterator[Finding]:
    """Yield whatever the schemas do not allow."""
    for thing in overlay.objects:
        kind, version, metadata = (thing.get(each) for each in ("kind", "apiVersion", "metadata"))
        named = isinstance(metadata, dict) and isinstance(metadata.get("name"), str)
        if not (kind and version and named):
            said = "every object has apiVersion, kind, name"
            yield overlay.finding(str(kind or "?"), "metadata.name", said)
            continue
        for path in _empty(thing):
            yield overlay.finding(thing, _path(path), "is empty: give it a value or take it out")
        for field, said in mistakes(thing):
            yield overlay.finding(thing, field, said)


def _empty(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where nothing stands, as after a dash or colon left over: schemas allow that."""
    if value is None:
        yield at
    elif isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _empty(each, (*at, key))


def mistakes(thing: Object) -> tuple[tuple[str, str], ...]:
    """Return each field that is wrong, and how."""
    return _mistakes(json.dumps(thing, sort_keys=True, default=str))


@functools.lru_cache(1024)  # most objects are the same in several overlays
def _mistakes(text: str) -> tuple[tuple[str, str], ...]:
    thing = json.loads(text)
    kind, version = str(thing["kind"]), str(thing["apiVersion"])
    own = _FOLDER / f"{version.replace('/', '_')}_{kind}.json"
    if own.is_file():
        return tuple(_wrong(_operators(own), thing, ""))
    found: list[tuple[str, str]] = []
    for wanted in versions():
        validator = _kubernetes(wanted, kind, version)
        if validator is None:
            said = f"Kubernetes {wanted} has no {version} {kind}, and deploy/check/schemas/ neither"
            found.append(("apiVersion", said))
        else:
            found += _wrong(validator, thing, f" (Kubernetes {wanted})")
    return tuple(found)


def _wrong(validator: Any, thing: Object, where: str) -> list[tuple[str, str]]:
    return [
        (_path(error.absolute_path), f"{error.message[:_MOST_SAID]}{where}")
        for error in validator.iter_errors(thing)
    ]


def _path(parts: Any) -> str:
    text = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in parts)
    return text.lstrip(".") or "(whole)"


@functools.cache
def _operators(path: Path) -> Any:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    return Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))


@functools.cache
def _kubernetes(version: str, kind: str, api: str) -> Any:
    """Return a validator; None where this version has no such kind."""
    from jsonschema import Draft202012Validator
    from kubernetes_validate import utils

    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api)
    name = f"{_folder(version)}/{kind.lower()}-{group}.json"
    try:
        schema = utils.schema_contents(name, version)
    except FileNotFoundError:
        return None
    return Draft202012Validator(schema, registry=_definitions(version))


@functools.cache
def _definitions(version: str) -> Any:
    from kubernetes_validate import utils
    from referencing import Registry, Resource

    contents = utils.schema_contents(f"{_folder(version)}/_definitions.json", version)
    registry: Any = Resource.from_contents(contents) @ Registry()
    return registry


def _folder(version: str) -> str:
    from kubernetes_validate import utils

    whole = next(each for each in utils.all_versions() if utils.major_minor(each) == version)
    return f"kubernetes-json-schema/v{whole}-local-strict"
