"""What an ONNX file's bytes must satisfy before protobuf may parse them."""

from __future__ import annotations

from functools import cache
from typing import Any

from tinymlaas.contract.errors import InvalidModel
from workers.models.limits import ModelLimits
from workers.models.protowire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Schema,
    Walked,
    WireField,
    WireLimits,
    walk_wire,
)

ROOT = "ModelProto"
_LOCATION, _EXTERNAL = "TensorProto.data_location", "TensorProto.external_data"
_WATCHED = frozenset((_LOCATION, _EXTERNAL))
# FieldDescriptor.type (descriptor.proto) by how it travels; what is left are varints.
_FIXED64_TYPES, _FIXED32_TYPES = (1, 6, 16), (2, 7, 15)
_KINDS = {9: "text", 11: "message", 12: "bytes", 14: "enum"}
_REPEATED = 3


def check_onnx_wire(data: bytes, limits: ModelLimits) -> Walked:
    """Walk the bytes of an ONNX model; return how many messages of which type it holds.

    Refused: what is no ``ModelProto`` or more than `limits` allow; tensors whose data lies in
    another file or in segments, wherever they stand; instructions for training. Entries of
    ``external_data`` are a list of names and values that onnx below 1.21 sets as attributes of
    its own objects, whatever they are called: not one gets as far.

    Raises:
        InvalidModel: with what is wrong.
    """
    wire = WireLimits(limits.fields, limits.packed, limits.depth)
    walked = walk_wire(data, onnx_schema(), ROOT, wire)
    watched, counts = walked.watched, walked.messages
    if _EXTERNAL in watched or watched.get(_LOCATION, set()) - {0}:
        raise InvalidModel(
            "a tensor keeps its data in another file (external data): save the model as one file"
        )
    if counts["Segment"]:
        raise InvalidModel("a tensor is stored in segments: save the model with whole tensors")
    if counts["TrainingInfoProto"]:
        raise InvalidModel("the model holds instructions for training: export it for inference")
    for message, limit, what in (
        ("NodeProto", limits.nodes, "nodes"),
        ("TensorProto", limits.tensors, "tensors"),
        ("FunctionProto", limits.functions, "functions"),
    ):
        if counts[message] > limit:
            raise InvalidModel(f"the model has more than {limit} {what}")
    return walked


@cache
def onnx_schema() -> Schema:
    """Return the schema of the installed onnx: what it would parse and nothing else."""
    import onnx

    schema: dict[str, dict[int, WireField]] = {}
    pending = [onnx.ModelProto.DESCRIPTOR]
    while pending:
        message = pending.pop()
        if message.name in schema:
            continue
        schema[message.name] = _fields(message)
        pending += [each.message_type for each in message.fields if each.message_type]
    return schema


def _fields(message: Any) -> dict[int, WireField]:
    """Return the fields of a message's descriptor by tag."""
    by_tag: dict[int, WireField] = {}
    once: dict[str, int] = {}
    for each in message.fields:
        group = each.containing_oneof.name if each.containing_oneof else each.name
        repeated = each.label == _REPEATED
        kind = _KINDS.get(each.type, "scalar")
        wire = _wire(each.type, kind)
        by_tag[each.number << 3 | wire] = WireField(
            name=each.name,
            wire=wire,
            kind=kind,
            once=0 if repeated else once.setdefault(group, 1 << len(once)),
            values=frozenset(v.number for v in each.enum_type.values)
            if kind == "enum"
            else frozenset(),
            message=each.message_type.name if kind == "message" else "",
            watched=f"{message.name}.{each.name}" in _WATCHED,
        )
        if repeated and kind == "scalar":  # a parser takes either form, whichever is declared
            by_tag[each.number << 3 | BYTES] = WireField(each.name, wire, "packed")
    return by_tag


def _wire(type_: int, kind: str) -> int:
    if kind in ("text", "message", "bytes"):
        return BYTES
    if type_ in _FIXED64_TYPES:
        return FIXED64
    return FIXED32 if type_ in _FIXED32_TYPES else VARINT
