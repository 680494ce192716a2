"""Mutations of TFLite files as objects: the layout is sound again, what it says is not."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from tests.fuzz.bytes_ import interesting
from tests.unit.models.builders import pack

Place = tuple[Any, Any]


@functools.cache
def _tree(data: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))


def _places(value: Any) -> Iterator[Place]:
    """Yield (object, attribute) and (list, index) of everything below `value`."""
    if isinstance(value, list):
        keys: Any = range(len(value))
        inner = value
    elif hasattr(value, "__dict__"):
        keys, inner = list(vars(value)), vars(value)
    else:
        return
    for key in keys:
        yield value, key
        yield from _places(inner[key])


def _get(place: Place) -> Any:
    where, key = place
    return where[key] if isinstance(where, list) else getattr(where, key)


def _set(place: Place, value: Any) -> None:
    where, key = place
    if isinstance(where, list):
        where[key] = value
    else:
        setattr(where, key, value)


def _number(value: Any, b: int) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return (0.0, -1.0, 1e38, float("inf"), float("nan"), 1e-45)[b % 6]
    near = (value + b % 7 - 3, interesting(b), -1 - b % 3, value * 2)[(b >> 4) % 4]
    return near & 0x7FFFFFFF if near >= 0 else near


def objects(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Change one number, list or table of a sound TFLite file and pack it anew."""
    try:
        tree = copy.deepcopy(_tree(data))
        places = list(_places(tree))
        place = places[a % len(places)]
        value = _get(place)
        if isinstance(value, int | float):
            _set(place, _number(value, b))
        elif isinstance(value, list):
            value[:] = (value * (1 + b % 3), value[::-1], value[1:], [])[c % 4]
        else:
            alike = [other for other in places if type(_get(other)) is type(value)]
            _set(place, _get(alike[b % len(alike)]) if c % 3 else None)
        return pack(tree)
    except Exception:  # flatbuffers packs only what has some form; whatever it says, it has none
        return data
