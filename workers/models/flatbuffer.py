"""A flatbuffer verifier: proves that reading a file by a schema stays inside the file.

Written from the FlatBuffers internals document (https://flatbuffers.dev/internals/). Accessors
generated from a schema check nothing, in Python (`struct.error`, nonsense) as in C++ (reads
outside the buffer), so nothing of an untrusted file may be accessed before this has passed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from tinymlaas.contract.errors import InvalidModel
from workers.models.limits import DEFAULT_LIMITS, ModelLimits

MAX_DEPTH = 64


@dataclass(frozen=True)
class Field:
    """One slot of a table's vtable.

    `kind` is ``scalar``, ``string``, ``vector`` (of scalars), ``table``, ``tables`` (a vector of
    them) or ``union``; `width` is the bytes of the scalar or element; `table` names the table, for
    a union the union, whose type byte is in the slot before.
    """

    slot: int
    kind: str
    width: int = 0
    table: str = ""


@dataclass(frozen=True)
class Schema:
    """Tables by name, and for each union the table of each type code."""

    tables: Mapping[str, tuple[Field, ...]]
    unions: Mapping[str, Mapping[int, str]]


def verify(data: bytes, schema: Schema, root: str, limits: ModelLimits = DEFAULT_LIMITS) -> None:
    """Verify that `data` is a well-formed flatbuffer of root table `root`.

    Checked: every offset, vtable, vector length, string terminator and union value reachable by
    the schema lies inside `data` and is aligned; nesting and the amount of work are bounded.

    Raises:
        InvalidModel: it is not, with the byte position of the first fault.
    """
    verifier = _Verifier(data, schema, limits)
    verifier.table(root, verifier.offset(0), 0)


def root_vector_length(data: bytes, slot: int) -> int:
    """Return the length of the vector in `slot` of the root table of verified `data`, 0 if absent.

    For slots that generated accessors are too old to know.
    """
    (root,) = struct.unpack_from("<I", data, 0)
    vtable = root - struct.unpack_from("<i", data, root)[0]
    if 4 + 2 * slot + 2 > struct.unpack_from("<H", data, vtable)[0]:
        return 0
    (inner,) = struct.unpack_from("<H", data, vtable + 4 + 2 * slot)
    if inner == 0:
        return 0
    vector = root + inner + struct.unpack_from("<I", data, root + inner)[0]
    return int(struct.unpack_from("<I", data, vector)[0])


class _Verifier:
    def __init__(self, data: bytes, schema: Schema, limits: ModelLimits) -> None:
        self.data = data
        self.schema = schema
        self.left = limits.visited
        self.seen: set[tuple[str, int]] = set()

    def fail(self, position: int, what: str) -> InvalidModel:
        return InvalidModel(f"damaged or truncated flatbuffer: {what} at byte {position}")

    def need(self, position: int, count: int, align: int, what: str) -> None:
        if position < 0 or position + count > len(self.data):
            raise self.fail(position, f"{what} points outside the file")
        if position % align:
            raise self.fail(position, f"{what} is misaligned")

    def spend(self, count: int, position: int) -> None:
        self.left -= count
        if self.left < 0:
            raise self.fail(position, "too many tables")

    def uint(self, position: int, what: str) -> int:
        self.need(position, 4, 4, what)
        return int(struct.unpack_from("<I", self.data, position)[0])

    def offset(self, position: int) -> int:
        """Follow the forward offset stored at `position`."""
        distance = self.uint(position, "offset")
        if distance == 0:
            raise self.fail(position, "offset is zero")
        return position + distance

    def vtable(self, position: int) -> tuple[int, int, int]:
        """Return (vtable position, vtable bytes, table bytes) of the table at `position`."""
        self.need(position, 4, 4, "table")
        start = position - struct.unpack_from("<i", self.data, position)[0]
        self.need(start, 4, 2, "vtable")
        vtable_bytes, table_bytes = struct.unpack_from("<HH", self.data, start)
        if vtable_bytes < 4 or vtable_bytes % 2 or table_bytes < 4:
            raise self.fail(start, "vtable is malformed")
        self.need(start, vtable_bytes, 2, "vtable")
        self.need(position, table_bytes, 4, "table")
        return start, vtable_bytes, table_bytes

    def table(self, name: str, position: int, depth: int) -> None:
        if (name, position) in self.seen:
            return
        self.seen.add((name, position))
        self.spend(1, position)
        if depth > MAX_DEPTH:
            raise self.fail(position, "tables are nested too deep")
        start, vtable_bytes, table_bytes = self.vtable(position)
        present: dict[int, int] = {}
        for field in self.schema.tables[name]:
            entry = 4 + 2 * field.slot
            if entry + 2 > vtable_bytes:
                continue
            inner = struct.unpack_from("<H", self.data, start + entry)[0]
            if inner == 0:
                continue
            width = field.width if field.kind == "scalar" else 4
            if inner < 4 or inner + width > table_bytes:
                raise self.fail(start + entry, f"field {field.slot} of {name} is outside its table")
            self.need(position + inner, width, width, f"field {field.slot} of {name}")
            present[field.slot] = position + inner
            self.value(field, present, depth)

    def value(self, field: Field, present: Mapping[int, int], depth: int) -> None:
        place = present[field.slot]
        match field.kind:
            case "scalar":
                return
            case "string":
                self.string(self.offset(place))
            case "vector":
                self.vector(self.offset(place), field.width)
            case "table":
                self.table(field.table, self.offset(place), depth + 1)
            case "tables":
                first, length = self.vector(self.offset(place), 4)
                self.spend(length, first)
                for index in range(length):
                    self.table(field.table, self.offset(first + 4 * index), depth + 1)
            case "union":
                self.union(field, present, depth)

    def union(self, field: Field, present: Mapping[int, int], depth: int) -> None:
        code_at = present.get(field.slot - 1)
        code = 0 if code_at is None else self.data[code_at]
        table = self.schema.unions[field.table].get(code)
        if table is not None:
            self.table(table, self.offset(present[field.slot]), depth + 1)

    def vector(self, position: int, width: int) -> tuple[int, int]:
        """Check the vector at `position`; return (position of its first element, length)."""
        length = self.uint(position, "vector")
        self.need(position + 4, length * width, 1, "vector")
        if length and (position + 4) % width:
            raise self.fail(position, "vector is misaligned")
        return position + 4, length

    def string(self, position: int) -> None:
        first, length = self.vector(position, 1)
        self.need(first + length, 1, 1, "string")
        if self.data[first + length] != 0:
            raise self.fail(first, "string has no terminator")
