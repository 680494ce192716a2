"""Finds the hybrid operators of a TFLite model and says which of them cannot be taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinymlaas.contract.errors import UnsupportedModel

SUPPORTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")

# Operators that take quantised tensors beside float ones by definition, not as hybrid kernels.
_NOT_HYBRID = ("QUANTIZE", "DEQUANTIZE", "FAKE_QUANT", "CALL_ONCE", "WHILE", "IF", "CALL")


@dataclass(frozen=True)
class Hybrid:
    """A hybrid operator: its name, its number in the graph and the scales of its weights.

    `asymmetric` says whether its kernel quantises the input with a zero point.
    """

    name: str
    number: int
    scales: tuple[float, ...]
    asymmetric: bool

    @property
    def scale_in_quantizer(self) -> bool:
        """True if one weight scale is multiplied into the input's scale, once for all sums."""
        return not self.asymmetric and len(set(self.scales)) == 1


def hybrid_operators(graph: Any, model: Any) -> dict[int, Hybrid]:
    """Return the hybrid operators of `graph` by the position of their table in the file."""
    found: dict[int, Hybrid] = {}
    for number in range(graph.OperatorsLength()):
        op = graph.Operators(number)
        name = _name(op, model)
        if name not in _NOT_HYBRID and _is_hybrid(op, graph):
            scales = _scales(graph.Tensors(op.Inputs(1)))
            found[op._tab.Pos] = Hybrid(name, number, scales, _is_asymmetric(name, op, scales))
    return found


def _is_asymmetric(name: str, op: Any, scales: tuple[float, ...]) -> bool:
    """Return whether TFLite's kernel for the operator quantises with a zero point.

    Per-channel convolutions do; a convolution whose scales are all equal counts as per-tensor.
    """
    from tflite.FullyConnectedOptions import FullyConnectedOptions

    if name != "FULLY_CONNECTED":
        return name == "DEPTHWISE_CONV_2D" or len(set(scales)) > 1
    options, table = FullyConnectedOptions(), op.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return bool(options.AsymmetricQuantizeInputs())


def _name(op: Any, model: Any) -> str:
    import tflite

    code = model.OperatorCodes(op.OpcodeIndex())
    value = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
    return str(names.get(value, f"operator {value}"))


def _is_hybrid(op: Any, graph: Any) -> bool:
    """Return whether only weights of `op`, not its first input or an output, are quantised."""
    inputs = [graph.Tensors(i) for i in op.InputsAsNumpy() if i >= 0] if op.InputsLength() else []
    outputs = [graph.Tensors(i) for i in op.OutputsAsNumpy()] if op.OutputsLength() else []
    plain = [*inputs[:1], *outputs]
    return not any(map(_scales, plain)) and any(map(_scales, inputs[1:]))


def _scales(tensor: Any) -> tuple[float, ...]:
    quantization = tensor.Quantization()
    if quantization is None or not quantization.ScaleLength():
        return ()
    return tuple(map(float, quantization.ScaleAsNumpy()))


def check(hybrid: Hybrid, op: Any, graph: Any, model: Any) -> None:
    """Refuse `hybrid` if it is none of the kernels this compiler has.

    Raises:
        UnsupportedModel: names the operator, its number and what is not supported.
    """
    from tflite import TensorType

    def refuse(why: str) -> UnsupportedModel:
        return UnsupportedModel(f"{hybrid.name} #{hybrid.number}: dynamic-range quantised {why}")

    if hybrid.name not in SUPPORTED:
        raise refuse(f"(only {', '.join(SUPPORTED)} are supported in that form)")
    weights = graph.Tensors(op.Inputs(1))
    if weights.Type() != TensorType.INT8:
        raise refuse("with weights that are not int8")
    if not model.Buffers(weights.Buffer()).DataLength():
        raise refuse("with weights that are not constant")
    zeros = weights.Quantization().ZeroPointAsNumpy()
    if weights.Quantization().ZeroPointLength() and zeros.any():
        raise refuse("with weights whose zero point is not 0")
    channels = weights.Shape(3 if hybrid.name == "DEPTHWISE_CONV_2D" else 0)
    if len(hybrid.scales) not in (1, channels):
        raise refuse(f"with {len(hybrid.scales)} scales for {channels} channels")
    if hybrid.name == "CONV_2D" and weights.Shape(3) != graph.Tensors(op.Inputs(0)).Shape(3):
        raise refuse("with groups")
