from tflite import BuiltinOperator

from workers.quantise.tflite_ops import KERNELS


def test_every_operator_named_exists_in_the_schema():
    assert set(KERNELS) <= {name for name in vars(BuiltinOperator) if name.isupper()}
