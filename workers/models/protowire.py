"""Protobuf's wire format, walked by a schema before any protobuf library parses it.

Written from https://protobuf.dev/programming-guides/encoding/. A library builds an object for every
field it finds, follows nesting as deep as it goes, merges what stands twice and lays aside what it
does not know. Here nothing is built: what is too deep, too much, unknown, ambiguous or outside its
message is refused, so that all who parse the bytes later read the same thing in bounded memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tinymlaas.contract.errors import InvalidModel

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10
_TAG_BITS, _VALUE_BITS = 32, 64
_GOES_ON = bytes(range(0x80, 0x100))  # bytes of a varint that are not its last
_TOO_LONG = re.compile(rb"[\x80-\xff]{10}")


@dataclass(frozen=True)
class WireField:
    """One field. `wire` is its wire type; `kind` one of ``scalar``, ``enum``, ``bytes``, ``text``,
    ``message``, and ``packed`` (many scalars of `wire` in one field).

    `once` is a bit that fields share of which a message may hold one alone; 0 if it may repeat.
    `values` are those an enum has, `message` is a submessage's type. Values of a `watched` field
    are handed to the caller; that of a message is None.
    """

    name: str
    wire: int
    kind: str
    once: int = 0
    values: frozenset[int] = frozenset()
    message: str = ""
    watched: bool = False


Schema = Mapping[str, Mapping[int, WireField]]
"""By name of the message and tag (field number × 8 + wire type as it stands on the wire)."""


@dataclass(frozen=True)
class WireLimits:
    """`fields` over all messages, `packed` varints in packed fields, `depth` of nesting."""

    fields: int
    packed: int
    depth: int


@dataclass
class Walked:
    """How many messages of a type there are, and the distinct values of watched fields by name."""

    messages: Counter[str] = field(default_factory=Counter)
    watched: dict[str, set[object]] = field(default_factory=dict)


def walk_wire(data: bytes, schema: Schema, root: str, limits: WireLimits) -> Walked:
    """Walk all of `data`, a message of type `root`.

    Raises:
        InvalidModel: it is no such message; it holds fields that `schema` lacks, or one twice that
            stands once; text that is not UTF-8 or holds a NUL; or more than `limits` allow.
    """
    return _Walker(data, schema, limits).walk(root)


class _Walker:
    def __init__(self, data: bytes, schema: Schema, limits: WireLimits) -> None:
        self.data = data
        self.schema = schema
        self.limits = limits
        self.packed = limits.packed
        self.walked = Walked()

    def walk(self, root: str) -> Walked:
        counts = self.walked.messages
        name, fields, end, held, place = root, self.schema[root], len(self.data), 0, 0
        outer: list[tuple[str, Mapping[int, WireField], int, int]] = []
        counts[root] += 1
        left = self.limits.fields
        while True:
            if place == end:
                if not outer:
                    return self.walked
                name, fields, end, held = outer.pop()
                continue
            left -= 1
            if left < 0:
                raise InvalidModel(f"the file has more than {self.limits.fields} fields")
            start = place
            tag, place = self.varint(place, end, _TAG_BITS)
            found = fields.get(tag)
            if found is None:
                raise self.unknown(name, tag, start)
            if held & found.once:
                raise _damaged(f"field {found.name} of {name} stands twice", start)
            held |= found.once
            if found.kind == "message":
                length, place = self.length(place, end)
                if len(outer) >= self.limits.depth:
                    raise InvalidModel(f"messages are nested more than {self.limits.depth} deep")
                outer.append((name, fields, end, held))
                if found.watched:
                    self.watch(name, found, None)
                name, fields, end, held = found.message, self.schema[found.message], length, 0
                counts[name] += 1
            else:
                place = self.leaf(found, name, place, end)

    def leaf(self, found: WireField, name: str, place: int, end: int) -> int:
        """Check one field that is no message; return where the next begins."""
        value: object
        if found.kind in ("scalar", "enum"):
            if found.wire == VARINT:
                value, after = self.varint(place, end, _VALUE_BITS)
            else:
                value, after = None, place + _WIDTHS[found.wire]
            if after > end:
                raise _damaged(f"field {found.name} of {name} is cut off", place)
            if found.kind == "enum" and value not in found.values:
                raise _damaged(f"field {found.name} of {name} is {value}, which is unknown", place)
        else:
            after, place = self.length(place, end)
            value = self.content(found, name, place, after)
        if found.watched:
            self.watch(name, found, value)
        return after

    def watch(self, name: str, found: WireField, value: object) -> None:
        self.walked.watched.setdefault(f"{name}.{found.name}", set()).add(value)

    def content(self, found: WireField, name: str, place: int, after: int) -> object:
        what = f"field {found.name} of {name}"
        if found.kind == "packed":
            self.elements(found, what, place, after)
        if found.kind != "text":
            return None
        try:
            text = self.data[place:after].decode("utf-8")
        except UnicodeDecodeError:
            raise _damaged(f"{what} is not UTF-8 text", place) from None
        if "\0" in text:
            raise _damaged(f"{what} holds a NUL", place)
        return text

    def elements(self, found: WireField, what: str, place: int, after: int) -> None:
        if found.wire != VARINT:
            if (after - place) % _WIDTHS[found.wire]:
                raise _damaged(f"{what} is cut off", place)
            return
        content = self.data[place:after]
        if content and content[-1] >= 0x80:
            raise _damaged(f"{what} is cut off", place)
        if _TOO_LONG.search(content):
            raise _damaged(f"{what} holds an endless number", place)
        self.packed -= len(content.translate(None, _GOES_ON))
        if self.packed < 0:
            raise InvalidModel(
                f"the file has more than {self.limits.packed} integers that are not raw: "
                "save its tensors as raw data"
            )

    def length(self, place: int, end: int) -> tuple[int, int]:
        """Return where the length-delimited field at `place` ends, and where its content begins."""
        length, start = self.varint(place, end, _TAG_BITS)
        if start + length > end:
            raise _damaged("a field reaches beyond its message", place)
        return start + length, start

    def varint(self, place: int, end: int, bits: int) -> tuple[int, int]:
        data, value, shift = self.data, 0, 0
        while place < end and shift < 7 * _LONGEST_VARINT:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> bits:
                    raise _damaged("a number is too large", place)
                return value, place
            shift += 7
        raise _damaged("a number is cut off or endless", place)

    def unknown(self, name: str, tag: int, place: int) -> InvalidModel:
        number, wire = tag >> 3, tag & 7
        if any(known >> 3 == number for known in self.schema[name]):
            return _damaged(f"field {number} of {name} has wire type {wire}", place)
        return InvalidModel(
            f"field {number} of {name} at byte {place} is unknown: the file is damaged, or of a "
            "newer version of its format; export it for an older one"
        )


def _damaged(what: str, place: int) -> InvalidModel:
    return InvalidModel(f"damaged or truncated protobuf: {what} at byte {place}")
