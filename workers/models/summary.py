"""From a model file to what the scheduler may know of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.model import ModelFormat, ModelSummary, OperatorUse
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.models.hygiene import sniff
from workers.models.limits import DEFAULT_LIMITS, ModelLimits
from workers.models.shapes import Shapes, fix_shapes


@dataclass(frozen=True)
class Inspected:
    """A checked model: `model` has static shapes and is what compilers get; `summary.digest` is
    its SHA-256.
    """

    format: ModelFormat
    model: bytes
    summary: ModelSummary


def inspect(
    data: bytes,
    name: str,
    shapes: Shapes | None = None,
    limits: ModelLimits = DEFAULT_LIMITS,
) -> Inspected:
    """Check `data`, fix its shapes and summarise it. `name` is used in reasons only.

    Raises:
        InvalidModel: `data` is not a sound model; see `hygiene.sniff`.
        UsageError: `shapes` leaves a dimension open or is wrong; see `shapes.fix_shapes`.
        UnsupportedModel: it uses an element type or a kind of value a module cannot have, or needs
            more memory or work than `limits` allow.
    """
    format = sniff(data, name, limits)
    model = fix_shapes(data, format, shapes or {})
    summary = summarise(model, format)
    check_reasonable(summary, limits)
    return Inspected(format, model, summary)


def check_reasonable(summary: ModelSummary, limits: ModelLimits = DEFAULT_LIMITS) -> None:
    """Refuse a model that says of itself that it is larger than any that we take.

    A summary may have been forged: no number in it is multiplied, or shown, before it is bounded.

    Raises:
        UnsupportedModel: it needs more than `limits` allow.
    """
    bounds = (
        ("bytes of activations", summary.estimated_ram_bytes, limits.activation_bytes),
        ("multiply-accumulates", summary.macs, limits.macs),
    )
    for what, needed, limit in bounds:
        if needed > limit:
            raise UnsupportedModel(f"the model needs {needed} {what}; up to {limit} are taken")
    boundary = (*summary.inputs, *summary.outputs)
    if any(len(spec.shape) > limits.rank for spec in boundary):
        raise UnsupportedModel(
            f"an input or output has more dimensions than the {limits.rank} that are taken"
        )
    if sum(map(_stored_bytes, boundary)) > limits.activation_bytes:
        raise UnsupportedModel(
            f"inputs and outputs take more than {limits.activation_bytes} bytes together"
        )
    told = len(summary.model_dump_json().encode())
    if told > limits.summary_bytes:
        raise UnsupportedModel(
            f"the model's summary has {told} bytes, up to {limits.summary_bytes} are taken: "
            "give its inputs, outputs and operators shorter names"
        )


def _stored_bytes(spec: TensorSpec) -> int:
    """Return the bytes of `spec`, a dimension of 0 counted as 1: numpy multiplies the others."""
    return prod(max(dim, 1) for dim in spec.shape) * spec.dtype.itemsize


def summarise(model: bytes, format: ModelFormat) -> ModelSummary:
    """Summarise a checked model with static shapes."""
    if format is ModelFormat.ONNX:
        from workers.models.onnx_summary import summarise_onnx

        return summarise_onnx(model, sha256(model))
    from workers.models.tflite_summary import summarise_tflite

    return summarise_tflite(model, sha256(model))


def locate_operators(uses: Iterable[tuple[str, DType]]) -> tuple[OperatorUse, ...]:
    """Return where each (operator, dtype) pair of `uses` stands, sorted by name, then dtype."""
    places: dict[tuple[str, DType], list[int]] = defaultdict(list)
    for index, use in enumerate(uses):
        places[use].append(index)
    return tuple(
        OperatorUse(name=name, dtype=dtype, indices=tuple(indices))
        for (name, dtype), indices in sorted(places.items())
    )


def dominant_dtype(elements: Mapping[DType, int]) -> DType:
    """Return the dtype with the most activation elements (the first of `DType` among equals)."""
    return max(DType, key=lambda dtype: elements.get(dtype, 0))


def module_dtype(what: str, name: str) -> DType:
    """Return the `DType` called `name`.

    Raises:
        UnsupportedModel: there is none; `what` ("tensor 'x'") says whose type it is.
    """
    if name not in set(DType):
        known = ", ".join(DType)
        raise UnsupportedModel(f"{what} is {name}; modules compute on {known} only")
    return DType(name)
