"""Which operators are put in terms of others before TVM sees them, and how.

A rewrite is called with a node and the `Walk`; it adds nodes for it and returns True, or returns
False to keep the node. It raises UnsupportedModel where no correct code can be made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph import (
    control,
    convolution,
    indexing,
    normalisation,
    quantised,
    recurrent,
    shapes,
)
from workers.compilers.tvm.graph import elementwise as ew
from workers.compilers.tvm.graph.functions import attention, by_definition
from workers.compilers.tvm.graph.resize import resize
from workers.compilers.tvm.graph.signal import dft, stft

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.walk import Walk

Rewrite = Callable[["onnx.NodeProto", "Walk"], bool]


def _random(node: onnx.NodeProto, walk: Walk) -> bool:
    del walk
    raise UnsupportedModel(f"{node.op_type}: random output cannot be verified or reproduced")


REWRITES: dict[str, Rewrite] = {
    "Attention": attention,
    "BatchNormalization": normalisation.batch_normalization,
    "Bernoulli": _random,
    "ai.onnx.ml.Binarizer": ew.binarizer,
    "Celu": by_definition,
    "CenterCropPad": by_definition,
    "Compress": indexing.compress,
    "ConvInteger": quantised.conv_integer,
    "ConvTranspose": convolution.conv_transpose,
    "CumSum": indexing.cumsum,
    "DFT": dft,
    "DequantizeLinear": quantised.dequantize_linear,
    "Dropout": ew.dropout,
    "Flatten": shapes.as_reshape,
    "GRU": recurrent.gru,
    "If": control.if_,
    "IsInf": ew.isinf,
    "LSTM": recurrent.lstm,
    "LayerNormalization": normalisation.layer_normalization,
    "Loop": control.loop,
    "LpNormalization": normalisation.lp_normalization,
    "MaxPool": convolution.max_pool,
    "Multinomial": _random,
    "OneHot": indexing.one_hot,
    "Pow": ew.pow_,
    "QLinearConv": quantised.qlinear_conv,
    "QLinearMatMul": quantised.qlinear_matmul,
    "QuantizeLinear": quantised.quantize_linear,
    "RMSNormalization": by_definition,  # TVM's takes one axis only
    "RNN": recurrent.rnn,
    "RandomNormal": _random,
    "RandomNormalLike": _random,
    "RandomUniform": _random,
    "RandomUniformLike": _random,
    "Reshape": shapes.as_reshape,
    "Resize": resize,
    "RoiAlign": convolution.roi_align,
    "RotaryEmbedding": by_definition,
    "Scan": control.scan,
    "Split": shapes.split,
    "Squeeze": shapes.as_reshape,
    "STFT": stft,
    "Swish": by_definition,
    "Unsqueeze": shapes.as_reshape,
}
