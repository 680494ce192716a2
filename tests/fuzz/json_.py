"""Mutations of JSON: one value of the tree, or how it is written."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from tests.fuzz.bytes_ import interesting

_ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        1e308,
        float("nan"),
        float("inf"),
        10**400,
        -(10**20),
        "",
        "\0",
        "\x1b[2J",
    ),
    *(
        "\ud800",
        "a\nb",
        "é" * 300,
        "x" * 20_000,
        [],
        {},
        [[]],
        {"": {}},
        "../../etc/passwd",
        "true",
    ),
    *(
        "2026-01-01T00:00:00Z",
        "0" * 64,
        "amq.default",
        "%s%n",
        "1e999",
        [0] * 300,
        "\u202e",
        "A" * 64,
    ),
)
Place = tuple[Any, Any]


def _places(value: Any) -> Iterator[Place]:
    keys: Any = value if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _changed(value: Any, a: int, b: int, c: int) -> Any:
    """Return `value` (a dict or list, changed in place) with one thing changed."""
    places = list(_places(value))
    if not places:
        return value
    where, key = places[a % len(places)]
    match c % 8:
        case 0:
            del where[key]
        case 1 | 2:
            where[key] = _ODD[b % len(_ODD)]
        case 3:
            other, at = places[b % len(places)]
            where[key] = copy.deepcopy(other[at])
        case 4:
            for _ in range(b % 60):
                where[key] = [where[key]] if b & 64 else {"a": where[key]}
        case 5 if isinstance(where, dict):
            where[f"new{b % 3}" if b & 1 else str(key).upper()] = where[key]
        case 6 if isinstance(where[key], str):
            text = where[key]
            place = b % (len(text) + 1)
            where[key] = text[:place] + chr(interesting(b >> 8) % 0x3000) + text[place + 1 :]
        case _:
            where[key] = interesting(b)
    return value


def tree(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Change one value of a JSON text that is one still."""
    try:
        value = _changed(json.loads(data), a, b, c >> 4)
        text = json.dumps(value, ensure_ascii=bool(c & 1))
        return text.encode("utf-8", "surrogatepass" if c & 2 else "replace")
    except (ValueError, RecursionError, TypeError):
        return data


def doubled(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Write one key of the text twice, by repeating what stands before a comma."""
    commas = [place for place, byte in enumerate(data) if byte == ord(",")]
    if not commas:
        return data
    start, end = (commas[number % len(commas)] for number in (a, a + 1 + b % 3))
    return data[:end] + data[start:end] + data[end:] if start < end else data


def behind_its_length(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Change a value of JSON that stands behind its length (32 bits), with bytes behind it."""
    length = int.from_bytes(data[:4], "little")
    text = tree(data[4 : 4 + length], a, b, c, others)
    return len(text).to_bytes(4, "little") + text + data[4 + length :]


def within(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Change a value of JSON that is a text within such JSON."""
    length = int.from_bytes(data[:4], "little")
    try:
        value = json.loads(data[4 : 4 + length])
        texts = [
            (where, key)
            for where, key in _places(value)
            if isinstance(where[key], str) and where[key].startswith("{")
        ]
        where, key = texts[a % len(texts)]
        where[key] = tree(where[key].encode(), a >> 8, b, c, others).decode("utf-8", "replace")
        text = json.dumps(value).encode()
    except (ValueError, TypeError, ZeroDivisionError, RecursionError):
        return data
    return len(text).to_bytes(4, "little") + text + data[4 + length :]
