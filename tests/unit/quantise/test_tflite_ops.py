from tflite import BuiltinOperator

from workers.compilers.tflm.resolver import METHODS
from workers.quantise.tflite_ops import KERNELS

KNOWN = {name for name in vars(BuiltinOperator) if name.isupper()}


def test_every_operator_named_exists_in_the_schema():
    assert set(KERNELS) <= KNOWN
    assert set(METHODS) <= KNOWN


def test_method_names_follow_the_resolvers_spelling():
    assert METHODS["FULLY_CONNECTED"] == "AddFullyConnected"
    assert METHODS["RELU6"] == "AddRelu6"
    assert METHODS["DEPTHWISE_CONV_2D"] == "AddDepthwiseConv2D"
    assert METHODS["SPACE_TO_BATCH_ND"] == "AddSpaceToBatchNd"
