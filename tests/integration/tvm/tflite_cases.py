"""Models of one operator each for every TFLite operator that the compiler says it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tests.integration.tvm.tflite_models import Op, Tensor, build

_RNG = np.random.default_rng(1)
_SHAPE = (2, 3, 4)
_IMAGE = (1, 5, 7, 3)
_SAME, _VALID = 0, 1
_NONE, _RELU, _RELU6 = 0, 1, 3  # ActivationFunctionType


def const(values, dtype="int32") -> Tensor:
    array = np.asarray(values, dtype=dtype)
    return Tensor(array.shape, dtype, array)


def weights(*shape: int) -> Tensor:
    return const(_RNG.normal(0, 1, shape), "float32")


def real(*shape: int) -> Tensor:
    return Tensor(shape)


def quant(*shape: int, scale: float = 0.05, zero_point: int = 3) -> Tensor:
    return Tensor(shape, "int8", None, scale, zero_point)


def quant_weights(*shape: int) -> Tensor:
    return Tensor(shape, "int8", _RNG.integers(-127, 128, shape).astype(np.int8), 0.01, 0)


def quant_bias(size: int) -> Tensor:
    values = _RNG.integers(-500, 500, size).astype(np.int32)
    return Tensor((size,), "int32", values, 0.0005, 0)


def one(
    name: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    options: str = "",
    **fields: object,
) -> bytes:
    """Return a model of one operator; those of `inputs` that are no constants are its inputs."""
    tensors = [*inputs, *outputs]
    results = range(len(inputs), len(tensors))
    variable = [i for i, tensor in enumerate(inputs) if tensor.data is None]
    op = Op(name, range(len(inputs)), results, options, fields)
    return build(tensors, [op], variable, results)


def float_cases() -> Iterator[tuple[str, str, bytes]]:
    """Yield operator, variant and model, everything in float32 but indices and truth values."""
    yield from _elementwise()
    yield from _reductions()
    yield from _moves(real)
    yield from _windows()
    yield from _products()
    yield from _resizing(real)
    yield from _others()


def quantised_cases() -> Iterator[tuple[str, str, bytes]]:
    """Yield operator, variant and model in int8."""
    yield from _moves(quant)
    yield from _resizing(quant)
    yield from _quantised_elementwise()
    yield from _quantised_windows()


def _elementwise() -> Iterator[tuple[str, str, bytes]]:
    unary = "ABS COS EXP FLOOR LOGISTIC NEG RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 SIN SQUARE"
    for name in f"{unary} TANH HARD_SWISH SIGN LOG_SOFTMAX ZEROS_LIKE".split():
        yield name, "", one(name, [real(*_SHAPE)], [real(*_SHAPE)])
    for name in ("SQRT", "RSQRT", "LOG"):  # of positive numbers
        tensors = [real(*_SHAPE)] * 3
        yield name, "", build(tensors, [Op("ABS", [0], [1]), Op(name, [1], [2])], [0], [2])
    for name, options, fields in (
        ("GELU", "GeluOptions", {"approximate": False}),
        ("GELU", "GeluOptions", {"approximate": True}),
        ("LEAKY_RELU", "LeakyReluOptions", {"alpha": 0.2}),
        ("SOFTMAX", "SoftmaxOptions", {"beta": 1.0}),
        ("SOFTMAX", "SoftmaxOptions", {"beta": 2.0}),
        ("L2_NORMALIZATION", "L2NormOptions", {}),
    ):
        made = one(name, [real(*_SHAPE)], [real(*_SHAPE)], options, **fields)
        yield name, str(fields), made
    for name, options in (
        ("ADD", "AddOptions"),
        ("SUB", "SubOptions"),
        ("MUL", "MulOptions"),
        ("DIV", "DivOptions"),
        ("MAXIMUM", "MaximumMinimumOptions"),
        ("MINIMUM", "MaximumMinimumOptions"),
        ("SQUARED_DIFFERENCE", "SquaredDifferenceOptions"),
        ("POW", "PowOptions"),
        ("FLOOR_DIV", "FloorDivOptions"),
        ("FLOOR_MOD", "FloorModOptions"),
    ):
        for other in (_SHAPE, (4,)):
            made = one(name, [real(*_SHAPE), real(*other)], [real(*_SHAPE)], options)
            yield name, str(other), made
    yield "ATAN2", "", one("ATAN2", [real(*_SHAPE)] * 2, [real(*_SHAPE)])
    for name in ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"):
        yield name, "", one(name, [real(*_SHAPE)] * 2, [Tensor(_SHAPE, "bool")])
    truth = Tensor(_SHAPE, "bool")
    for name in ("LOGICAL_AND", "LOGICAL_OR"):
        yield name, "", one(name, [truth, truth], [truth])
    yield "LOGICAL_NOT", "", one("LOGICAL_NOT", [truth], [truth])
    yield "ADD_N", "", one("ADD_N", [real(*_SHAPE)] * 3, [real(*_SHAPE)], "AddNOptions")
    yield "PRELU", "", one("PRELU", [real(1, 2, 3, 4), weights(1, 1, 4)], [real(1, 2, 3, 4)])
    yield "SELECT", "", one("SELECT", [truth, *[real(*_SHAPE)] * 2], [real(*_SHAPE)])
    mixed = [Tensor((2, 3), "bool"), real(3), real(2, 1)]
    yield "SELECT_V2", "", one("SELECT_V2", mixed, [real(2, 3)])
    cast = one("CAST", [real(2, 3)], [Tensor((2, 3), "int32")], "CastOptions", outDataType=2)
    yield "CAST", "", cast


def _reductions() -> Iterator[tuple[str, str, bytes]]:
    for name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
        inner = [real(2, 3, 4, 5), const([1, 2])]
        yield name, "", one(name, inner, [real(2, 5)], "ReducerOptions", keepDims=False)
        last = [real(2, 3, 4, 5), const([-1])]
        yield name, "keep", one(name, last, [real(2, 3, 4, 1)], "ReducerOptions", keepDims=True)
    for name in ("REDUCE_ANY", "REDUCE_ALL"):
        inputs = [Tensor(_SHAPE, "bool"), const([1])]
        yield name, "", one(name, inputs, [Tensor((2, 4), "bool")], "ReducerOptions")
    for name, options in (("ARG_MAX", "ArgMaxOptions"), ("ARG_MIN", "ArgMinOptions")):
        inputs = [real(*_SHAPE), const(2)]
        yield name, "", one(name, inputs, [Tensor((2, 3), "int32")], options, outputType=2)


def _moves(t: Callable[..., Tensor]) -> Iterator[tuple[str, str, bytes]]:
    image, pads = t(1, 3, 4, 2), const([[0, 0], [1, 2], [0, 1], [0, 0]])
    yield "PAD", "", one("PAD", [image, pads], [t(1, 6, 5, 2)], "PadOptions")
    value = t(1)
    data = np.array([5]).astype(value.dtype)
    fill = Tensor((1,), value.dtype, data, value.scale, value.zero_point)
    yield "PADV2", "", one("PADV2", [image, pads, fill], [t(1, 6, 5, 2)], "PadV2Options")
    turn = one("TRANSPOSE", [t(2, 3, 4), const([2, 0, 1])], [t(4, 2, 3)], "TransposeOptions")
    yield "TRANSPOSE", "", turn
    for begin, end, stride, shape, mask in (
        ((1, 0, 0), (4, 6, 3), (2, 3, 1), (2, 2, 3), 0),
        ((1, 0, 0), (2, 6, 3), (1, 3, 1), (2, 3), 1),
        ((3, 0, 0), (0, 6, 3), (-1, 2, 1), (3, 3, 3), 0),
    ):
        inputs = [t(4, 6, 3), const(begin), const(end), const(stride)]
        options = {"options": "StridedSliceOptions", "shrinkAxisMask": mask}
        yield "STRIDED_SLICE", str(begin), one("STRIDED_SLICE", inputs, [t(*shape)], **options)
    part = [t(4, 6, 3), const([1, 2, 0]), const([2, -1, 3])]
    yield "SLICE", "", one("SLICE", part, [t(2, 4, 3)], "SliceOptions")
    thirds = one("SPLIT", [const(1), t(2, 6, 3)], [t(2, 2, 3)] * 3, "SplitOptions", numSplits=3)
    yield "SPLIT", "", thirds
    inputs = [t(2, 6, 3), const([1, 2, 3]), const(1)]
    outputs = [t(2, 1, 3), t(2, 2, 3), t(2, 3, 3)]
    yield "SPLIT_V", "", one("SPLIT_V", inputs, outputs, "SplitVOptions", numSplits=3)
    pack = one("PACK", [t(2, 3)] * 2, [t(2, 2, 3)], "PackOptions", axis=1, valuesCount=2)
    yield "PACK", "", pack
    yield "UNPACK", "", one("UNPACK", [t(2, 2, 3)], [t(2, 3)] * 2, "UnpackOptions", axis=1, num=2)
    both = [t(2, 3), t(2, 5)]
    joined = one("CONCATENATION", both, [t(2, 8)], "ConcatenationOptions", axis=1)
    yield "CONCATENATION", "", joined
    yield "GATHER", "", one("GATHER", [t(5, 3), const([4, 0, 2])], [t(3, 3)], "GatherOptions")
    wide = one("EXPAND_DIMS", [t(2, 3), const(1)], [t(2, 1, 3)], "ExpandDimsOptions")
    yield "EXPAND_DIMS", "", wide
    flat = one("SQUEEZE", [t(2, 1, 3)], [t(2, 3)], "SqueezeOptions", squeezeDims=[1])
    yield "SQUEEZE", "", flat
    inputs = [t(2, 3), const([3, 2])]
    yield "RESHAPE", "", one("RESHAPE", inputs, [t(3, 2)], "ReshapeOptions", newShape=[3, 2])
    yield "TILE", "", one("TILE", [t(2, 3), const([2, 2])], [t(4, 6)], "TileOptions")
    deep = one(
        "SPACE_TO_DEPTH", [t(1, 4, 4, 2)], [t(1, 2, 2, 8)], "SpaceToDepthOptions", blockSize=2
    )
    yield "SPACE_TO_DEPTH", "", deep
    wide = one(
        "DEPTH_TO_SPACE", [t(1, 2, 2, 8)], [t(1, 4, 4, 2)], "DepthToSpaceOptions", blockSize=2
    )
    yield "DEPTH_TO_SPACE", "", wide
    yield "REVERSE_V2", "", one("REVERSE_V2", [t(2, 3, 4), const([1])], [t(2, 3, 4)])


def _resizing(t: Callable[..., Tensor]) -> Iterator[tuple[str, str, bytes]]:
    for name in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        for align, half in ((False, False), (True, False), (False, True)):
            for size in ((6, 8), (5, 7), (2, 3)):
                options = {
                    "options": "ResizeBilinearOptions"
                    if name == "RESIZE_BILINEAR"
                    else "ResizeNearestNeighborOptions",
                    "alignCorners": align,
                    "halfPixelCenters": half,
                }
                made = one(name, [t(1, 3, 4, 2), const(size)], [t(1, *size, 2)], **options)
                yield name, f"{align} {half} {size}", made


def _windows() -> Iterator[tuple[str, str, bytes]]:
    for padding in (_SAME, _VALID):
        for stride in (1, 2):
            height, width = (_reach(size, padding, stride) for size in _IMAGE[1:3])
            common = {"padding": padding, "strideH": stride, "strideW": stride}
            variant = str(common)
            yield (
                "CONV_2D",
                variant,
                one(
                    "CONV_2D",
                    [real(*_IMAGE), weights(4, 3, 3, 3), weights(4)],
                    [real(1, height, width, 4)],
                    "Conv2DOptions",
                    fusedActivationFunction=_RELU,
                    **common,
                ),
            )
            yield (
                "DEPTHWISE_CONV_2D",
                variant,
                one(
                    "DEPTHWISE_CONV_2D",
                    [real(*_IMAGE), weights(1, 3, 3, 6), weights(6)],
                    [real(1, height, width, 6)],
                    "DepthwiseConv2DOptions",
                    depthMultiplier=2,
                    fusedActivationFunction=_RELU6,
                    **common,
                ),
            )
            for name in ("MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"):
                shape = (1, height, width, 3)
                yield name, variant, _pool(name, real(*_IMAGE), real(*shape), **common)


def _reach(size: int, padding: int, stride: int) -> int:
    return (size - 3) // stride + 1 if padding == _VALID else -(-size // stride)


def _pool(name: str, source: Tensor, result: Tensor, **fields: object) -> bytes:
    return one(name, [source], [result], "Pool2DOptions", filterHeight=3, filterWidth=3, **fields)


def _products() -> Iterator[tuple[str, str, bytes]]:
    for padding, size in ((_SAME, 8), (_VALID, 9)):
        inputs = [const([1, size, size, 3]), weights(3, 3, 3, 2), real(1, 4, 4, 2)]
        options = {"options": "TransposeConvOptions", "padding": padding, "strideH": 2}
        made = one("TRANSPOSE_CONV", inputs, [real(1, size, size, 3)], strideW=2, **options)
        yield "TRANSPOSE_CONV", str(padding), made
    name, options = "FULLY_CONNECTED", "FullyConnectedOptions"
    layer = [weights(3, 5), weights(3)]
    relu = {"fusedActivationFunction": _RELU}
    yield name, "", one(name, [real(2, 5), *layer], [real(2, 3)], options, **relu)
    yield (
        name,
        "keep",
        one(name, [real(2, 2, 5), *layer], [real(2, 2, 3)], options, keepNumDims=True),
    )
    without = Op(name, [0, 1, -1], [2], options)
    yield name, "no bias", build([real(2, 5), weights(3, 5), real(2, 3)], [without], [0], [2])
    name, options = "BATCH_MATMUL", "BatchMatMulOptions"
    yield name, "", one(name, [real(2, 3, 4), real(2, 4, 5)], [real(2, 3, 5)], options)
    yield (
        name,
        "adjoint",
        one(name, [real(2, 3, 4), real(2, 5, 4)], [real(2, 3, 5)], options, adjY=True),
    )


def _others() -> Iterator[tuple[str, str, bytes]]:
    pads = const([[0, 0], [1, 2], [0, 1], [0, 0]])
    inputs = [real(1, 3, 4, 2), pads]
    yield (
        "MIRROR_PAD",
        "",
        one("MIRROR_PAD", inputs, [real(1, 6, 5, 2)], "MirrorPadOptions", mode=0),
    )
    yield "SHAPE", "flatten as Keras writes it", _flatten()
    hot = [Tensor((3,), "int32"), const(4), const(1, "float32"), const(0, "float32")]
    yield "ONE_HOT", "", one("ONE_HOT", hot, [real(3, 4)], "OneHotOptions", axis=-1)


def _flatten() -> bytes:
    """Return SHAPE → STRIDED_SLICE → PACK → RESHAPE, which keeps a batch size that is not known."""
    one_element = {"begin": const([0]), "end": const([1]), "step": const([1])}
    tensors = [
        real(2, 3, 4),
        Tensor((3,), "int32"),
        *one_element.values(),
        Tensor((), "int32"),
        const(-1),
        Tensor((2,), "int32"),
        real(2, 12),
    ]
    ops = [
        Op("SHAPE", [0], [1], "ShapeOptions", {"outType": 2}),
        Op("STRIDED_SLICE", [1, 2, 3, 4], [5], "StridedSliceOptions", {"shrinkAxisMask": 1}),
        Op("PACK", [5, 6], [7], "PackOptions", {"axis": 0, "valuesCount": 2}),
        Op("RESHAPE", [0, 7], [8], "ReshapeOptions"),
    ]
    return build(tensors, ops, [0], [8])


def _quantised_elementwise() -> Iterator[tuple[str, str, bytes]]:
    for name, scale, zero_point in (
        ("LOGISTIC", 1 / 256, -128),
        ("TANH", 1 / 128, 0),
        ("SOFTMAX", 1 / 256, -128),
    ):
        result = quant(*_SHAPE, scale=scale, zero_point=zero_point)
        options = {"options": "SoftmaxOptions", "beta": 1.0} if name == "SOFTMAX" else {}
        yield name, "", one(name, [quant(*_SHAPE)], [result], **options)
    other = quant(*_SHAPE, scale=0.03, zero_point=-5)
    result = quant(*_SHAPE, scale=0.08, zero_point=1)
    for name, options in (("ADD", "AddOptions"), ("SUB", "SubOptions"), ("MUL", "MulOptions")):
        yield name, "", one(name, [quant(*_SHAPE), other], [result], options)
    for name in ("RELU", "RELU6", "RELU_N1_TO_1", "HARD_SWISH", "ABS"):
        yield name, "", one(name, [quant(*_SHAPE)], [quant(*_SHAPE)])
    leaky = one("LEAKY_RELU", [quant(*_SHAPE)], [quant(*_SHAPE)], "LeakyReluOptions", alpha=0.2)
    yield "LEAKY_RELU", "", leaky
    for name in ("MAXIMUM", "MINIMUM"):
        yield name, "", one(name, [quant(*_SHAPE)] * 2, [quant(*_SHAPE)])
    for name in ("MEAN", "REDUCE_MAX", "REDUCE_MIN"):
        inputs = [quant(2, 3, 4, 5), const([1, 2])]
        yield name, "", one(name, inputs, [quant(2, 5)], "ReducerOptions", keepDims=False)
    yield "DEQUANTIZE", "", one("DEQUANTIZE", [quant(2, 3)], [real(2, 3)])
    yield "QUANTIZE", "", one("QUANTIZE", [real(2, 3)], [quant(2, 3)])
    coarse = quant(2, 3, scale=0.08, zero_point=-3)
    yield "QUANTIZE", "again", one("QUANTIZE", [quant(2, 3)], [coarse])


def _quantised_windows() -> Iterator[tuple[str, str, bytes]]:
    layer = [quant(2, 5), quant_weights(3, 5), quant_bias(3)]
    result, relu = quant(2, 3, scale=0.1, zero_point=1), {"fusedActivationFunction": _RELU}
    yield (
        "FULLY_CONNECTED",
        "",
        one("FULLY_CONNECTED", layer, [result], "FullyConnectedOptions", **relu),
    )
    for padding in (_SAME, _VALID):
        size = tuple(_reach(n, padding, 1) for n in _IMAGE[1:3])
        common = {"padding": padding, "strideH": 1, "strideW": 1}
        source = quant(*_IMAGE)
        conv = [source, quant_weights(4, 3, 3, 3), quant_bias(4)]
        result = quant(1, *size, 4, scale=0.1, zero_point=2)
        made = one("CONV_2D", conv, [result], "Conv2DOptions", **common, **relu)
        yield "CONV_2D", str(padding), made
        depthwise = [source, quant_weights(1, 3, 3, 6), quant_bias(6)]
        result = quant(1, *size, 6, scale=0.1, zero_point=2)
        options = {"options": "DepthwiseConv2DOptions", "depthMultiplier": 2, **common}
        yield (
            "DEPTHWISE_CONV_2D",
            str(padding),
            one("DEPTHWISE_CONV_2D", depthwise, [result], **options),
        )
        for activation in (_NONE, _RELU6):
            fields = {"fusedActivationFunction": activation, **common}
            made = _pool("AVERAGE_POOL_2D", source, quant(1, *size, 3), **fields)
            yield "AVERAGE_POOL_2D", str(fields), made
        made = _pool("MAX_POOL_2D", source, quant(1, *size, 3), **common)
        yield "MAX_POOL_2D", str(padding), made
