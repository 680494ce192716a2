"""Mutations of ONNX files as messages: what is around a change fits it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.fuzz.bytes_ import BYTES, apply, interesting
from workers.models.onnx_wire import ROOT, onnx_schema


@dataclass
class Field:
    """One field: `value` is a number, bytes, or a list of fields; the rest is how it is told."""

    number: int
    wire: int
    value: int | bytes | list[Field]
    type: str = ""
    lie: int = 0  # added to the length that is written
    padding: int = field(default=0)  # bytes by which the tag is longer than it need be


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def parse(data: bytes, message: str = ROOT) -> list[Field]:
    """Return the fields of a sound message."""
    schema, fields, place = onnx_schema()[message], [], 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, place = _varint(data, place)
            fields.append(Field(number, wire, value))
            continue
        width = {1: 8, 5: 4}.get(wire)
        if width is None:
            width, place = _varint(data, place)
        content = data[place : place + width]
        place += width
        kind = schema[tag].message
        fields.append(Field(number, wire, parse(content, kind) if kind else content, kind))
    return fields


def _encoded(value: int, padding: int = 0) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    if padding:
        out[-1] |= 0x80
        out += b"\x80" * (padding - 1) + b"\0"
    return bytes(out)


def emit(fields: Sequence[Field]) -> bytes:
    """Return the bytes of a message."""
    parts = []
    for each in fields:
        parts.append(_encoded(each.number << 3 | each.wire, each.padding))
        if isinstance(each.value, int):
            parts.append(_encoded(each.value))
            continue
        content = each.value if isinstance(each.value, bytes) else emit(each.value)
        if each.wire == 2:
            parts.append(_encoded(max(0, len(content) + each.lie)))
        parts.append(content)
    return b"".join(parts)


Place = tuple[list[Field], int]


def _places(fields: list[Field]) -> Iterator[Place]:
    for index, each in enumerate(fields):
        yield fields, index
        if isinstance(each.value, list):
            yield from _places(each.value)


def _duplicate(fields: list[Field], index: int, b: int, places: list[Place]) -> None:
    fields[index:index] = [fields[index]] * (1 + b % 40)


def _remove(fields: list[Field], index: int, b: int, places: list[Place]) -> None:
    del fields[index]


def _reorder(fields: list[Field], index: int, b: int, places: list[Place]) -> None:
    fields.insert(b % len(fields), fields.pop(index))


def _renumber(fields: list[Field], index: int, b: int, places: list[Place]) -> None:
    fields[index].number = (*range(1, 32), 1 << 18, (1 << 29) - 1)[b % 33]


def _rewire(fields: list[Field], index: int, b: int, places: list[Place]) -> None:
    fields[index].wire = b % 8


def _revalue(fields: list[Field], index: int, b: int, places: list[Place]) -> None:
    each = fields[index]
    if isinstance(each.value, int):
        each.value = interesting(b)
    elif isinstance(each.value, bytes):
        mutation = BYTES[b % len(BYTES)]
        each.value = apply(each.value or b"?", mutation, (b >> 8, b >> 16, b >> 4), [b"x", b"\xff"])


def _exchange(fields: list[Field], index: int, b: int, places: list[Place]) -> None:
    """Two varints, two texts or two messages of the same kind change places."""
    mine = fields[index]
    alike = [
        (where, at)
        for where, at in places
        if (where[at].wire, where[at].type) == (mine.wire, mine.type)
    ]
    where, at = alike[b % len(alike)]
    mine.value, where[at].value = where[at].value, mine.value


def _graft(fields: list[Field], index: int, b: int, places: list[Place]) -> None:
    """A field from anywhere comes in before this one."""
    where, at = places[b % len(places)]
    fields.insert(index, where[at])


def _nest(fields: list[Field], index: int, b: int, places: list[Place]) -> None:
    """A message becomes an attribute of its own last node, b times over: graphs within graphs."""
    each = fields[index]
    for _ in range(b % 24):
        graph = Field(6, 2, [Field(1, 2, [Field(4, 2, b"If"), Field(5, 2, [each])])])
        each = graph
    fields.insert(index, each)


def _lie(fields: list[Field], index: int, b: int, places: list[Place]) -> None:
    fields[index].lie = b % 33 - 16


def _pad(fields: list[Field], index: int, b: int, places: list[Place]) -> None:
    fields[index].padding = b % 12


_CHANGES: tuple[Callable[[list[Field], int, int, list[Place]], None], ...] = (
    *(_duplicate, _remove, _reorder, _renumber, _rewire, _revalue, _revalue, _revalue),
    *(_exchange, _exchange, _graft, _nest, _lie, _pad),
)


def message(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Change one field of an ONNX file that is one still; others stay as they are."""
    try:
        fields = parse(data)
        places = list(_places(fields))
        if not places:
            return data
        where, at = places[a % len(places)]
        _CHANGES[c % len(_CHANGES)](where, at, b, places)
        return emit(fields)
    except (IndexError, KeyError, RecursionError):  # no message any more, or one within itself
        return data
