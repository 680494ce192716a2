"""Static facts: which operators there is code for. Known without importing TVM, ONNX or TFLite.

`tests/unit/tvm/test_operators.py` holds these lists against the tables of TVM's importers and of
`graph.rewrites`.
"""

from __future__ import annotations

from collections.abc import Iterable

from tinymlaas.contract.compiler import CompileTask, OperatorSupport
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.tensors import DType

# Of the ONNX operators that TVM's importer converts, those that can give C. (Left out: outputs
# whose size depends on values, sequences and optionals, and what needs TVM's run-time library.)
_ONNX_IMPORTED = """
    Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention
    AveragePool BatchNormalization BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast
    CastLike Ceil Clip Compress Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh
    CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal
    Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf
    IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpPool MatMul
    MatMulInteger Max MaxPool MaxRoiPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg
    NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear RMSNormalization Range Reciprocal
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Relu Reshape Resize RoiAlign Round Scatter ScatterElements
    ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign
    SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile Transpose
    Trilu Unsqueeze Where Xor
"""
_TFLITE = """
    ABS ADD ADD_N ARG_MAX ARG_MIN ATAN2 AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND
    BIDIRECTIONAL_SEQUENCE_LSTM BIDIRECTIONAL_SEQUENCE_RNN BITCAST BITWISE_XOR
    BROADCAST_ARGS BROADCAST_TO BUCKETIZE CAST CEIL COMPLEX_ABS CONCATENATION CONV_2D
    CONV_3D CONV_3D_TRANSPOSE COS CUMSUM DENSIFY DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
    DILATE DIV ELU EMBEDDING_LOOKUP EMBEDDING_LOOKUP_SPARSE EQUAL EXP EXPAND_DIMS FAKE_QUANT
    FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GELU GREATER
    GREATER_EQUAL HARD_SWISH IMAG L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL
    LOCAL_RESPONSE_NORMALIZATION LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX
    LSTM MATRIX_DIAG MATRIX_SET_DIAG MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG
    NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE RANGE RANK REAL REDUCE_ALL
    REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_SEQUENCE REVERSE_V2 RFFT2D RIGHT_SHIFT
    ROUND RSQRT SCATTER_ND SEGMENT_SUM SELECT SELECT_V2 SHAPE SIGN SIN SLICE SOFTMAX
    SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPARSE_TO_DENSE SPLIT SPLIT_V SQRT SQUARE
    SQUARED_DIFFERENCE SQUEEZE STABLEHLO_ABS STABLEHLO_ADD STABLEHLO_AND
    STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CBRT STABLEHLO_CLAMP STABLEHLO_COMPARE
    STABLEHLO_COMPOSITE STABLEHLO_CONCATENATE STABLEHLO_CONVERT STABLEHLO_CONVOLUTION
    STABLEHLO_COSINE STABLEHLO_DIVIDE STABLEHLO_DOT_GENERAL STABLEHLO_DYNAMIC_SLICE
    STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_GATHER
    STABLEHLO_IOTA STABLEHLO_LOG STABLEHLO_LOGISTIC STABLEHLO_MAXIMUM STABLEHLO_MINIMUM
    STABLEHLO_MULTIPLY STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_PAD STABLEHLO_POWER
    STABLEHLO_REDUCE STABLEHLO_REDUCE_WINDOW STABLEHLO_REMAINDER STABLEHLO_RESHAPE
    STABLEHLO_RSQRT STABLEHLO_SCATTER STABLEHLO_SELECT STABLEHLO_SHIFT_LEFT STABLEHLO_SLICE
    STABLEHLO_SORT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_TRANSPOSE STRIDED_SLICE SUB
    SUM SVDF TAN TANH TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM
    UNIDIRECTIONAL_SEQUENCE_RNN UNPACK UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_MIN
    UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_SUM WHERE ZEROS_LIKE
"""
_TFLITE_QUANTISED = """
    ABS ADD ATAN2 AVERAGE_POOL_2D CEIL CONCATENATION CONV_2D COS DEPTHWISE_CONV_2D
    DEQUANTIZE DIV EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GREATER GREATER_EQUAL
    HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN
    MINIMUM MUL NEG NOT_EQUAL POW QUANTIZE REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6
    RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR ROUND RSQRT SIN SOFTMAX SQRT SQUARED_DIFFERENCE SUB
    SUM TAN TANH TRANSPOSE_CONV
"""

# Those that `graph.rewrites` or the folding of constants take care of.
_ONNX_REWRITTEN = """
    Celu CenterCropPad ConvInteger DFT GRU If LSTM Loop LpNormalization QLinearConv QLinearMatMul
    RNN RotaryEmbedding STFT Scan Swish ai.onnx.ml.Binarizer
    OptionalGetElement OptionalHasElement
"""
# Those that are only computed beforehand, on constants.
_ONNX_FOLDED = "BlackmanWindow HammingWindow HannWindow MelWeightMatrix"

# All element types of the contract but float16, for which there is no portable C type.
_COMPUTED = tuple(dtype for dtype in DType if dtype != DType.FLOAT16)
_QUANTISED = (DType.INT8, DType.UINT8, DType.INT16)

ONNX = frozenset(f"{_ONNX_IMPORTED} {_ONNX_REWRITTEN} {_ONNX_FOLDED}".split())
TFLITE = frozenset(_TFLITE.split())
TFLITE_QUANTISED = frozenset(_TFLITE_QUANTISED.split())


def operators(fmt: ModelFormat, dtype: DType) -> frozenset[str]:
    """Return the operators of a format that can be compiled for an element type."""
    if dtype not in _COMPUTED:
        return frozenset()
    if fmt == ModelFormat.ONNX:
        return ONNX
    return TFLITE_QUANTISED if dtype in _QUANTISED else TFLITE


def supported() -> tuple[OperatorSupport, ...]:
    """Return all operators by format and element type, sorted."""
    return tuple(
        OperatorSupport(format=fmt, dtype=dtype, operators=tuple(sorted(operators(fmt, dtype))))
        for fmt in ModelFormat
        for dtype in _COMPUTED
    )


def refusals(task: CompileTask) -> Iterable[str]:
    """Yield a reason for each operator and tensor of the task's model that cannot be compiled."""
    summary = task.summary
    for tensor in (*summary.inputs, *summary.outputs):
        if tensor.dtype not in _COMPUTED:
            yield f"tensor {tensor.name}: element type {tensor.dtype} is not supported"
    for use in summary.operators:
        if use.name in operators(summary.format, use.dtype):
            continue
        if use.name in operators(summary.format, DType.FLOAT32):
            yield f"{use.name}: not supported for {use.dtype}"
        else:
            yield f"{use.name}: this operator is not supported"
