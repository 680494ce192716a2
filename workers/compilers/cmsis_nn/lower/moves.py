"""Operators that move data without changing a value."""

from __future__ import annotations

from math import prod

import numpy as np

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.graph import Tensor
from workers.compilers.cmsis_nn.layers import MoveLayer, Region, ReshapeLayer
from workers.compilers.cmsis_nn.lower.context import Context, Refusal, affine, axis_of
from workers.compilers.cmsis_nn.options import (
    Activation,
    ConcatenationOptions,
    PackOptions,
    SplitOptions,
    StridedSliceOptions,
    UnpackOptions,
)
from workers.compilers.cmsis_nn.strides import Shape, contiguous


def _itemsize(context: Context, *tensors: Tensor) -> int:
    """Return the element size of tensors that must be of one type and quantisation."""
    first = tensors[0]
    for tensor in tensors:
        if tensor.dtype is None or tensor.dtype != first.dtype:
            raise Refusal(f"{first.type_name} becomes {tensor.type_name}")
        if tensor.dtype in (DType.INT8, DType.INT16) and tensor.affine is not None:
            one, other = affine(first, tensor.dtype), affine(tensor, tensor.dtype)
            if (one.scale, one.zero_point) != (other.scale, other.zero_point):
                raise Refusal("tensors of different quantisation")
    assert first.dtype is not None  # noqa: S101 - for the type checker
    return first.dtype.itemsize


def reshape(context: Context) -> None:
    """Lower RESHAPE, SQUEEZE and EXPAND_DIMS: the output's static shape says it all."""
    context.arity((1, 2))
    source, target = context.input(), context.output()
    itemsize = _itemsize(context, source, target)
    if prod(source.shape) != prod(target.shape):
        raise Refusal(f"{source.shape} becomes {target.shape}")
    layer = ReshapeLayer(prod(source.shape) * itemsize)
    context.add(layer, context.operator.inputs[:1], context.operator.outputs)


def _slice(context: Context, output: int, starts: Shape, steps: Shape, counts: Shape) -> None:
    """Add a copy of a part of the input to output number `output`."""
    source, target = context.input(), context.output(output)
    itemsize = _itemsize(context, source, target)
    if prod(counts) != prod(target.shape):
        raise Refusal(f"a part of shape {counts} becomes {target.shape}")
    strides = contiguous(source.shape)
    region = Region(
        0,
        counts,
        tuple(stride * step for stride, step in zip(strides, steps, strict=True)),
        contiguous(counts),
        sum(stride * start for stride, start in zip(strides, starts, strict=True)),
    )
    context.add(
        MoveLayer(prod(counts), itemsize, (region,)),
        [_data_input(context)],
        [context.operator.outputs[output]],
    )


def _data_input(context: Context) -> int:
    return context.operator.inputs[1 if context.operator.name == "SPLIT" else 0]


def slice_(context: Context) -> None:
    """Lower SLICE with constant begin and size."""
    context.arity(3)
    shape = context.input().shape
    begin, size = context.integers(1, "begin"), context.integers(2, "size")
    if len(begin) != len(shape) or len(size) != len(shape):
        raise Refusal(f"begin {begin} and size {size} for {len(shape)} dimensions")
    counts = tuple(n - b if s == -1 else s for n, b, s in zip(shape, begin, size, strict=True))
    if any(b < 0 or c < 0 or b + c > n for n, b, c in zip(shape, begin, counts, strict=True)):
        raise Refusal(f"begin {begin} and size {size} of shape {shape}")
    _slice(context, 0, begin, (1,) * len(shape), counts)


def strided_slice(context: Context) -> None:
    """Lower STRIDED_SLICE with constant bounds, without ellipsis and new axes."""
    context.arity(4)
    options = context.options(StridedSliceOptions)
    if options.ellipsis_mask or options.new_axis_mask:
        raise Refusal("an ellipsis or new axis")
    shape = context.input().shape
    bounds = [context.integers(i, what) for i, what in ((1, "begin"), (2, "end"), (3, "strides"))]
    if any(len(bound) != len(shape) for bound in bounds):
        raise Refusal(f"bounds of {len(bounds[0])} dimensions for {len(shape)}")
    parts = [
        _range(options, axis, n, b, e, s)
        for axis, (n, b, e, s) in enumerate(zip(shape, *bounds, strict=True))
    ]
    starts, steps, counts = (tuple(part[k] for part in parts) for k in range(3))
    _slice(context, 0, starts, steps, counts)


def _range(
    options: StridedSliceOptions, axis: int, size: int, begin: int, end: int, step: int
) -> tuple[int, int, int]:
    """Return (start, step, count) of one axis."""
    bit = 1 << axis
    if step == 0:
        raise Refusal("stride 0")
    low, high = (0, size) if step > 0 else (-1, size - 1)
    begin += size if begin < 0 else 0
    start = max(low, min(high, begin))
    if options.begin_mask & bit:
        start = 0 if step > 0 else size - 1
    if options.shrink_axis_mask & bit:
        if not 0 <= start < size or step < 0:
            raise Refusal(f"index {begin} of {size} with stride {step}")
        return start, 1, 1
    end += start if options.offset else 0
    end += size if end < 0 else 0
    stop = max(low, min(high, end))
    if options.end_mask & bit:
        stop = size if step > 0 else -1
    return start, step, max(0, -(-(stop - start) // step))


def transpose(context: Context) -> None:
    """Lower TRANSPOSE with a constant permutation."""
    context.arity(2)
    source, target = context.input(), context.output()
    itemsize = _itemsize(context, source, target)
    order = tuple(axis_of(a, len(source.shape)) for a in context.integers(1, "permutation"))
    if sorted(order) != list(range(len(source.shape))):
        raise Refusal(f"permutation {order} of {len(source.shape)} dimensions")
    counts = tuple(source.shape[a] for a in order)
    if counts != target.shape:
        raise Refusal(f"{source.shape} becomes {target.shape}")
    strides = contiguous(source.shape)
    region = Region(0, counts, tuple(strides[a] for a in order), contiguous(counts))
    layer = MoveLayer(prod(counts), itemsize, (region,))
    context.add(layer, context.operator.inputs[:1], context.operator.outputs)


def pad(context: Context) -> None:
    """Lower PAD (with the zero point) and PADV2 (with a constant)."""
    context.arity(3 if context.operator.name == "PADV2" else 2)
    source, target = context.input(), context.output()
    itemsize = _itemsize(context, source, target)
    rank = len(source.shape)
    flat = context.integers(1, "paddings")
    if len(flat) != 2 * rank or min(flat, default=0) < 0:
        raise Refusal(f"paddings {list(flat)} for {rank} dimensions")
    amounts = np.array(flat).reshape(rank, 2)
    shape = tuple(int(n + a.sum()) for n, a in zip(source.shape, amounts, strict=True))
    if shape != target.shape:
        raise Refusal(f"{source.shape} becomes {target.shape}")
    strides = contiguous(shape)
    offset = sum(s * int(a[0]) for s, a in zip(strides, amounts, strict=True))
    region = Region(0, source.shape, contiguous(source.shape), strides, 0, offset)
    layer = MoveLayer(prod(shape), itemsize, (region,), _pad_value(context, itemsize))
    context.add(layer, context.operator.inputs[:1], context.operator.outputs)


def _pad_value(context: Context, itemsize: int) -> int:
    """Return the padding element as an unsigned number of `itemsize` bytes."""
    target = context.output()
    if context.operator.name == "PADV2":
        data = context.constant(2, "padding value")
        if data.size != 1 or context.input(2).dtype != target.dtype:
            raise Refusal("a padding value of another type")
        return int.from_bytes(data.tobytes(), "little")
    value = 0
    if target.dtype in (DType.INT8, DType.INT16):
        value = affine(target, target.dtype).zero_point
    return value % (1 << (8 * itemsize))


def concatenation(context: Context) -> None:
    """Lower CONCATENATION."""
    options = context.options(ConcatenationOptions)
    if options.fused_activation_function != Activation.NONE:
        raise Refusal("a fused activation")
    target = context.output()
    if not context.operator.inputs:
        raise Refusal("no inputs")
    axis = axis_of(options.axis, len(target.shape))
    _join(context, [context.input(i).shape for i in range(len(context.operator.inputs))], axis)


def pack(context: Context) -> None:
    """Lower PACK: a concatenation along a new axis."""
    target, options = context.output(), context.options(PackOptions)
    context.arity(options.values_count)
    axis = axis_of(options.axis, len(target.shape))
    shapes = [context.input(i).shape for i in range(len(context.operator.inputs))]
    if any((*s[:axis], len(shapes), *s[axis:]) != target.shape for s in shapes):
        raise Refusal(f"{shapes} become {target.shape}")
    _join(context, [(*s[:axis], 1, *s[axis:]) for s in shapes], axis)


def _join(context: Context, shapes: list[Shape], axis: int) -> None:
    target = context.output()
    tensors = [context.input(i) for i in range(len(shapes))]
    itemsize = _itemsize(context, target, *tensors)
    strides = contiguous(target.shape)
    regions: list[Region] = []
    start = 0
    for number, shape in enumerate(shapes):
        other = (*shape[:axis], target.shape[axis], *shape[axis + 1 :])
        if len(shape) != len(target.shape) or other != target.shape:
            raise Refusal(f"{shape} within {target.shape}")
        regions.append(Region(number, shape, contiguous(shape), strides, 0, start * strides[axis]))
        start += shape[axis]
    if start != target.shape[axis]:
        raise Refusal(f"{start} of {target.shape[axis]} along axis {axis}")
    layer = MoveLayer(prod(target.shape), itemsize, tuple(regions))
    context.add(layer, context.operator.inputs, context.operator.outputs)


def split(context: Context) -> None:
    """Lower SPLIT: the axis comes first, the parts are equal."""
    options = context.options(SplitOptions)
    context.arity(2, options.num_splits)
    tensor = context.input(1)
    axis = axis_of(context.integer(0, "axis"), len(tensor.shape))
    size, rest = divmod(tensor.shape[axis], options.num_splits)
    if rest:
        raise Refusal(f"{tensor.shape[axis]} in {options.num_splits} equal parts")
    _parts(context, tensor, axis, [size] * options.num_splits)


def split_v(context: Context) -> None:
    """Lower SPLIT_V: parts of given sizes, one of which may be −1 for the rest."""
    tensor = context.input()
    sizes = list(context.integers(1, "sizes"))
    context.arity(3, len(sizes))
    axis = axis_of(context.integer(2, "axis"), len(tensor.shape))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = tensor.shape[axis] - sum(sizes) - 1
    if min(sizes) < 0 or sum(sizes) != tensor.shape[axis]:
        raise Refusal(f"parts {sizes} of {tensor.shape[axis]}")
    _parts(context, tensor, axis, sizes)


def unpack(context: Context) -> None:
    """Lower UNPACK: each index of one axis becomes a tensor."""
    tensor = context.input()
    options = context.options(UnpackOptions)
    axis = axis_of(options.axis, len(tensor.shape))
    if options.num != tensor.shape[axis]:
        raise Refusal(f"{options.num} parts of {tensor.shape[axis]}")
    context.arity(1, options.num)
    _parts(context, tensor, axis, [1] * tensor.shape[axis])


def _parts(context: Context, tensor: Tensor, axis: int, sizes: list[int]) -> None:
    strides = contiguous(tensor.shape)
    start = 0
    for number, size in enumerate(sizes):
        target = context.output(number)
        itemsize = _itemsize(context, tensor, target)
        counts = (*tensor.shape[:axis], size, *tensor.shape[axis + 1 :])
        if prod(counts) != prod(target.shape):
            raise Refusal(f"a part of shape {counts} becomes {target.shape}")
        region = Region(0, counts, strides, contiguous(counts), start * strides[axis])
        context.add(
            MoveLayer(prod(counts), itemsize, (region,)),
            [_data_input(context)],
            [context.operator.outputs[number]],
        )
        start += size
