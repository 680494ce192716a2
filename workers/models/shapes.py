"""Make every dimension of a model static: microcontrollers allocate nothing at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.model import ModelFormat

Shapes = Mapping[str, tuple[int, ...]]
"""What ``--shape name=1,49,10,1`` says, by input name."""


@dataclass(frozen=True)
class DeclaredInput:
    """An input as the model declares it.

    `dims` are ints where fixed, otherwise the dimension's name ("N", "?"); None if not even the
    rank is known.
    """

    name: str
    dims: tuple[int | str, ...] | None

    @property
    def static(self) -> bool:
        """True if nothing is left to fix."""
        return self.dims is not None and all(isinstance(dim, int) for dim in self.dims)


def fix_shapes(data: bytes, format: ModelFormat, shapes: Shapes) -> bytes:
    """Return `data` with all dimensions of inputs and outputs static.

    A model that is static already (and agrees with `shapes`) comes back byte for byte. `data` must
    have passed `hygiene.sniff`.

    Raises:
        UsageError: a dynamic input is not in `shapes`, or an entry of `shapes` is wrong.
        UnsupportedModel: with static inputs an output is still dynamic.
    """
    if format is ModelFormat.ONNX:
        from workers.models.onnx_shapes import fix_onnx_shapes

        return fix_onnx_shapes(data, shapes)
    from workers.models.tflite_shapes import fix_tflite_shapes

    return fix_tflite_shapes(data, shapes)


def resolve(inputs: Sequence[DeclaredInput], shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return the static shape of every input, by name.

    Raises:
        UsageError: one reason for every mistake, all at once.
    """
    reasons = _unknown([each.name for each in inputs], shapes)
    for declared in inputs:
        given = shapes.get(declared.name)
        reasons += _undetermined(declared) if given is None else _conflicts(declared, given)
    if reasons:
        raise UsageError(*reasons)
    return {
        each.name: shapes[each.name]
        if each.name in shapes
        else tuple(int(dim) for dim in each.dims or ())
        for each in inputs
    }


def _unknown(names: list[str], shapes: Shapes) -> list[str]:
    reasons = []
    for name in shapes:
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"inputs are {', '.join(names)}"
            reasons.append(f"--shape {name}: the model has no such input; {hint}")
    return reasons


def _undetermined(declared: DeclaredInput) -> list[str]:
    if declared.static:
        return []
    if declared.dims is None:
        return [f"input {declared.name!r} has unknown rank: fix it with --shape {declared.name}=…"]
    example = ",".join(str(dim if isinstance(dim, int) else 1) for dim in declared.dims)
    shape = ", ".join(str(dim) for dim in declared.dims)
    return [
        f"input {declared.name!r} has dynamic shape ({shape}): "
        f"fix it with --shape {declared.name}={example}"
    ]


def _conflicts(declared: DeclaredInput, given: tuple[int, ...]) -> list[str]:
    option = f"--shape {declared.name}={','.join(map(str, given))}"
    if any(dim <= 0 for dim in given):
        return [f"{option}: every dimension must be at least 1"]
    if declared.dims is None:
        return []
    shape = ", ".join(str(dim) for dim in declared.dims)
    if len(given) != len(declared.dims):
        return [f"{option}: the input has {len(declared.dims)} dimensions ({shape})"]
    if any(
        isinstance(dim, int) and dim != got for dim, got in zip(declared.dims, given, strict=True)
    ):
        return [f"{option}: the model fixes this input to ({shape})"]
    return []
