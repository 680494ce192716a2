"""The TFLite schema (version 3), as far as verifying its layout needs it.

Written down from TensorFlow's public ``schema.fbs``. A line is ``Table: slot slot …`` with ``1``,
``4``, ``8`` a scalar of so many bytes, ``v4`` a vector of such scalars, ``s`` a string, ``@T`` a
table, ``*T`` a vector of tables, ``?U`` a union (its type is the slot before), ``_`` a slot that
was removed. Union members stand in the order of their type codes, from 1.
"""

from __future__ import annotations

from functools import cache

from workers.models.flatbuffer import Field, Schema

_TABLES = """
CustomQuantization: v1
BlockwiseQuantization: 4 4 4 v4
MultiAxisQuantization: 4 4 4 v4
QuantizationParameters: v4 v4 v4 v8 1 ?QuantizationDetails 4
Int32Vector: v4
Uint16Vector: v2
Uint8Vector: v1
DimensionMetadata: 1 4 1 ?SparseIndexVector 1 ?SparseIndexVector
SparsityParameters: v4 v4 *DimensionMetadata
VariantSubType: v4 1 1
Tensor: v4 1 4 s @QuantizationParameters 1 @SparsityParameters v4 1 *VariantSubType 4
OperatorCode: 1 s 4 4
Operator: 4 v4 v4 1 ?BuiltinOptions v1 1 v1 v4 8 8 1 ?BuiltinOptions2 4
SubGraph: *Tensor v4 v4 *Operator s 4
Buffer: v1 8 8
ExternalBufferGroup: s
ExternalBuffer: 4 4 8 8 s
Metadata: s 4
TensorMap: s 4
SignatureDef: *TensorMap *TensorMap s _ 4
Model: 4 *OperatorCode *SubGraph s *Buffer v4 *Metadata *SignatureDef *ExternalBufferGroup \
*ExternalBuffer
"""

_BUILTIN_OPTIONS = """
Conv2DOptions: 1 4 4 1 4 4 1
DepthwiseConv2DOptions: 1 4 4 4 1 4 4
ConcatEmbeddingsOptions: 4 v4 v4
LSHProjectionOptions: 1
Pool2DOptions: 1 4 4 4 4 1
SVDFOptions: 4 1 1
RNNOptions: 1 1
FullyConnectedOptions: 1 1 1 1 1 v1
SoftmaxOptions: 4
ConcatenationOptions: 4 1
AddOptions: 1 1
L2NormOptions: 1
LocalResponseNormalizationOptions: 4 4 4 4
LSTMOptions: 1 4 4 1 1
ResizeBilinearOptions: _ _ 1 1
CallOptions: 4
ReshapeOptions: v4
SkipGramOptions: 4 4 1
SpaceToDepthOptions: 4
EmbeddingLookupSparseOptions: 1
MulOptions: 1
PadOptions:
GatherOptions: 4 4
BatchToSpaceNDOptions:
SpaceToBatchNDOptions:
TransposeOptions:
ReducerOptions: 1
SubOptions: 1 1
DivOptions: 1
SqueezeOptions: v4
SequenceRNNOptions: 1 1 1
StridedSliceOptions: 4 4 4 4 4 1
ExpOptions:
TopKV2Options:
SplitOptions: 4
LogSoftmaxOptions:
CastOptions: 1 1
DequantizeOptions:
MaximumMinimumOptions:
ArgMaxOptions: 1
LessOptions:
NegOptions:
PadV2Options:
GreaterOptions:
GreaterEqualOptions:
LessEqualOptions:
SelectOptions:
SliceOptions:
TransposeConvOptions: 1 4 4 1 1
SparseToDenseOptions: 1
TileOptions:
ExpandDimsOptions:
EqualOptions:
NotEqualOptions:
ShapeOptions: 1
PowOptions:
ArgMinOptions: 1
FakeQuantOptions: 4 4 4 1
PackOptions: 4 4
LogicalOrOptions:
OneHotOptions: 4
LogicalAndOptions:
LogicalNotOptions:
UnpackOptions: 4 4
FloorDivOptions:
SquareOptions:
ZerosLikeOptions:
FillOptions:
BidirectionalSequenceLSTMOptions: 1 4 4 1 1 1
BidirectionalSequenceRNNOptions: 1 1 1 1
UnidirectionalSequenceLSTMOptions: 1 4 4 1 1 1
FloorModOptions:
RangeOptions:
ResizeNearestNeighborOptions: 1 1
LeakyReluOptions: 4
SquaredDifferenceOptions:
MirrorPadOptions: 1
AbsOptions:
SplitVOptions: 4
UniqueOptions: 1
ReverseV2Options:
AddNOptions:
GatherNdOptions:
CosOptions:
WhereOptions:
RankOptions:
ReverseSequenceOptions: 4 4
MatrixDiagOptions:
QuantizeOptions:
MatrixSetDiagOptions:
HardSwishOptions:
IfOptions: 4 4
WhileOptions: 4 4
DepthToSpaceOptions: 4
NonMaxSuppressionV4Options:
NonMaxSuppressionV5Options:
ScatterNdOptions:
SelectV2Options:
DensifyOptions:
SegmentSumOptions:
BatchMatMulOptions: 1 1 1
CumsumOptions: 1 1
CallOnceOptions: 4
BroadcastToOptions:
Rfft2dOptions:
Conv3DOptions: 1 4 4 4 1 4 4 4
HashtableOptions: 4 1 1
HashtableFindOptions:
HashtableImportOptions:
HashtableSizeOptions:
VarHandleOptions: s s
ReadVariableOptions:
AssignVariableOptions:
RandomOptions: 8 8
BucketizeOptions: v4
GeluOptions: 1
DynamicUpdateSliceOptions:
UnsortedSegmentProdOptions:
UnsortedSegmentMaxOptions:
UnsortedSegmentMinOptions:
UnsortedSegmentSumOptions:
ATan2Options:
SignOptions:
BitcastOptions:
BitwiseXorOptions:
RightShiftOptions:
"""

_BUILTIN_OPTIONS_2 = """
StablehloConcatenateOptions: 8
StablehloBroadcastInDimOptions: v8
StablehloSliceOptions: v8 v8 v8
StablehloConvolutionOptions: v8 v8 v8 v8 v1 8 8 v8 8 8 v8 8 8 v8 8 8 v4
StablehloCustomCallOptions: s 1 s 4 v4 v1
StablehloReduceOptions: v8 4
StablehloScatterOptions: 1 v8 v8 v8 8 1 4
StablehloCompareOptions: 4 4
StablehloDynamicSliceOptions: v8
StablehloPadOptions: v8 v8 v8
StablehloIotaOptions: 8
StablehloDotGeneralOptions: v8 v8 v8 v8 v4
StablehloReduceWindowOptions: v8 v8 v8 v8 v8 4
StablehloSortOptions: 8 1 4
StablehloWhileOptions: 4 4
StablehloGatherOptions: v8 v8 v8 8 v8 1
StablehloTransposeOptions: v8
DilateOptions:
StablehloRngBitGeneratorOptions: 1
ReduceWindowOptions: 4
StableHLOCompositeOptions: s 4 v1 1 4
StablehloShiftLeftOptions:
StablehloCaseOptions: v4
"""

_SMALL_UNIONS = {
    "QuantizationDetails": ("CustomQuantization", "BlockwiseQuantization", "MultiAxisQuantization"),
    "SparseIndexVector": ("Int32Vector", "Uint16Vector", "Uint8Vector"),
}

ROOT = "Model"
IDENTIFIER = b"TFL3"


def _field(slot: int, word: str) -> Field | None:
    rest = word[1:]
    fields = {
        "_": None,
        "s": Field(slot, "string"),
        "v": Field(slot, "vector", width=int(rest or 0) if word[0] == "v" else 0),
        "@": Field(slot, "table", table=rest),
        "*": Field(slot, "tables", table=rest),
        "?": Field(slot, "union", table=rest),
    }
    return fields[word[0]] if word[0] in fields else Field(slot, "scalar", width=int(word))


def _parse(text: str) -> dict[str, tuple[Field, ...]]:
    tables = {}
    for line in text.strip().splitlines():
        name, _, slots = line.partition(":")
        fields = (_field(slot, word) for slot, word in enumerate(slots.split()))
        tables[name] = tuple(field for field in fields if field is not None)
    return tables


# Operators whose options do not have the operator's own name.
_OPTIONS = {
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), "Pool2DOptions"),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), "MaximumMinimumOptions"),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX"), "ReducerOptions"),
    **dict.fromkeys(("REDUCE_MIN", "REDUCE_ANY", "REDUCE_ALL"), "ReducerOptions"),
    **{"L2_NORMALIZATION": "L2NormOptions", "CONV_3D_TRANSPOSE": "Conv3DOptions"},
    **{"UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNNOptions", "RNN": "RNNOptions"},
}


@cache
def options_of(operator: str) -> str | None:
    """Return the table that holds the options of a built-in operator, None if it has none."""
    if operator in _OPTIONS:
        return _OPTIONS[operator]
    wanted = f"{operator}Options".replace("_", "").lower()
    members = (*_parse(_BUILTIN_OPTIONS), *_parse(_BUILTIN_OPTIONS_2))
    return next((each for each in members if each.lower() == wanted), None)


@cache
def tflite_schema() -> Schema:
    """Return the schema by which a TFLite file is verified."""
    first, second = _parse(_BUILTIN_OPTIONS), _parse(_BUILTIN_OPTIONS_2)
    unions = {**_SMALL_UNIONS, "BuiltinOptions": tuple(first), "BuiltinOptions2": tuple(second)}
    return Schema(
        tables={**_parse(_TABLES), **first, **second},
        unions={name: dict(enumerate(members, 1)) for name, members in unions.items()},
    )
