"""Steps that vanish into their neighbours: padding, clamps, tables after tables, identities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workers.compilers.cmsis_nn.evaluate import as_elementwise, element
from workers.compilers.cmsis_nn.layers import (
    AddLayer,
    AnyLayer,
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    ElementwiseLayer,
    LutLayer,
    MoveLayer,
    PoolLayer,
    ReshapeLayer,
    TransposeConvLayer,
)
from workers.compilers.cmsis_nn.program import Program, Step
from workers.compilers.cmsis_nn.strides import contiguous

_RANGED = (AddLayer, ElementwiseLayer, PoolLayer)
_UNCLAMPED = ("minimum", "maximum")  # their C has no clamp
_WEIGHTED = (ConvLayer, DenseLayer, DepthwiseLayer, TransposeConvLayer)


def drop_unread(program: Program) -> Program:
    """Remove steps whose results no one reads."""
    wanted = set(program.outputs)
    kept: list[Step] = []
    for step in reversed(program.steps):
        if wanted.intersection(step.outputs) or _lasting(program, step):
            kept.append(step)
            wanted.update(step.inputs)
    return replace(program, steps=tuple(reversed(kept)))


def _lasting(program: Program, step: Step) -> bool:
    return any(program.values[n].persistent for n in step.outputs)


def fuse_padding(program: Program) -> Program:
    """Let convolutions pad by themselves where the padding is their input's zero point."""
    steps = list(program.steps)
    for index, step in enumerate(steps):
        source = program.writer(step.inputs[0]) if step.inputs else None
        if source is None or not isinstance(step.layer, ConvLayer | DepthwiseLayer):
            continue
        layer = _with_padding(program, step.layer, source)
        if layer is not None:
            steps[index] = replace(step, layer=layer, inputs=source.inputs)
    return drop_unread(replace(program, steps=tuple(steps)))


def _with_padding(
    program: Program, layer: ConvLayer | DepthwiseLayer, source: Step
) -> ConvLayer | DepthwiseLayer | None:
    move = source.layer
    if not isinstance(move, MoveLayer) or move.fill is None or len(move.regions) != 1:
        return None
    inner = program.values[source.inputs[0]].shape
    outer = program.values[source.outputs[0]].shape
    (region,) = move.regions
    plain = (
        len(inner) == 4
        and region.counts == inner
        and region.source_offset == 0
        and region.source_strides == contiguous(inner)
        and region.target_strides == contiguous(outer)
    )
    if not plain or move.fill != layer.quant.input_zero_point % 256:
        return None
    top, rest = divmod(region.target_offset, outer[2] * outer[3])
    left, channel = divmod(rest, outer[3])
    if channel or (inner[0], inner[3]) != (outer[0], outer[3]):
        return None
    bottom, right = outer[1] - inner[1] - top, outer[2] - inner[2] - left
    if min(bottom, right) < 0:
        return None
    own = layer.padding
    padding = (own[0] + top, own[1] + left, own[2] + bottom, own[3] + right)
    shape = (inner[0], inner[1], inner[2], inner[3])
    return replace(layer, input_shape=shape, padding=padding)


def fuse_activations(program: Program) -> Program:
    """Join tables with what comes before: clamps with their layer, tables with tables."""
    steps = list(program.steps)
    for index, step in enumerate(steps):
        if not isinstance(step.layer, LutLayer):
            continue
        number = step.inputs[0]
        before = next((i for i, s in enumerate(steps[:index]) if number in s.outputs), None)
        readers = [s for s in steps if number in s.inputs]
        lasting = number in program.outputs or program.values[number].persistent
        if before is None or len(readers) != 1 or lasting:
            continue
        layer = _joined(steps[before].layer, step.layer)
        if layer is not None:
            # the earlier step moves here, so that nothing between runs before its input is there
            steps[index] = replace(steps[before], layer=layer, outputs=step.outputs)
            steps[before] = replace(steps[before], outputs=())
    return replace(program, steps=tuple(step for step in steps if step.outputs))


def _joined(first: AnyLayer, second: LutLayer) -> AnyLayer | None:
    joined: AnyLayer | None = None
    if isinstance(first, LutLayer):
        joined = replace(first, table=second.table[first.table.astype(np.int64) + 128])
    elif isinstance(first, _WEIGHTED):
        bounds = _clamped(first.quant.activation_min, first.quant.activation_max, second)
        if bounds is not None:
            low, high = bounds
            quant = replace(first.quant, activation_min=low, activation_max=high)
            joined = replace(first, quant=quant)
    elif isinstance(first, _RANGED) and getattr(first, "kind", "") not in _UNCLAMPED:
        bounds = _clamped(first.activation_min, first.activation_max, second)
        if bounds is not None:
            joined = replace(first, activation_min=bounds[0], activation_max=bounds[1])
    return joined


def _clamped(low: int, high: int, lut: LutLayer) -> tuple[int, int] | None:
    """Return the bounds if the table is a clamp on [low, high]."""
    values = lut.table[low + 128 : high + 129].astype(np.int64)
    if not len(values):
        return None
    bounds = int(values.min()), int(values.max())
    if (values == np.clip(np.arange(low, high + 1), *bounds)).all():
        return bounds
    return None


def fold_scalars(program: Program) -> Program:
    """Make a table of an operation whose other operand is one constant everywhere."""
    steps = []
    for step in program.steps:
        table = _scalar_table(program, step)
        steps.append(table if table is not None else step)
    return replace(program, steps=tuple(steps))


def _scalar_table(program: Program, step: Step) -> Step | None:
    layer = as_elementwise(step.layer) if isinstance(step.layer, AddLayer) else step.layer
    if not isinstance(layer, ElementwiseLayer):
        return None
    for position in (0, 1):
        data = program.values[step.inputs[position]].data
        other = program.values[step.inputs[1 - position]]
        target = program.values[step.outputs[0]]
        fits = other.nbytes == target.nbytes and target.nbytes > 256  # dearer than its table
        if data is None or not fits or len(np.unique(data)) != 1:
            continue
        held = int(data.reshape(-1)[0])
        pairs = ((held, q) if position == 0 else (q, held) for q in range(-128, 128))
        table = np.array([element(layer, a, b) for a, b in pairs], np.int8)
        inputs = (step.inputs[1 - position],)
        return replace(step, layer=LutLayer(target.nbytes, table), inputs=inputs)
    return None


def drop_identities(program: Program) -> Program:
    """Turn tables that change nothing into reshapes, which need no code."""
    identity = np.arange(-128, 128)
    steps = tuple(
        replace(step, layer=ReshapeLayer(step.layer.size))
        if isinstance(step.layer, LutLayer) and (step.layer.table == identity).all()
        else step
        for step in program.steps
    )
    return replace(program, steps=steps)
