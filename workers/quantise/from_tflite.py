"""A float TFLite model as a source.

TensorFlow's converter does not read TFLite, so the graph is built again from TensorFlow's own
operators, and compared with LiteRT before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import UnsupportedModel, UsageError
from tinymlaas.contract.quantisation import Activations
from workers.models.reference import TfliteReference
from workers.models.shapes import Shapes
from workers.quantise import libraries
from workers.quantise.converter import convert
from workers.quantise.hybrid import with_float_weights
from workers.quantise.source import probe, read_float, refuse_other_numbers
from workers.quantise.tflite_ops import KERNELS

Array = NDArray[Any]
_LEFT_OUT = -1
_HYBRID = "{} weight tensors were int8 already: their rounding is in the float numbers too"


class TfliteModel:
    """A float TFLite file, run by LiteRT's reference kernels."""

    def __init__(self, data: bytes, name: str, shapes: Shapes, scratch: Path) -> None:
        """Check and load `data`.

        Raises:
            Rejection: see `read_float`.
        """
        model, self.boundary = read_float(data, name, shapes)
        libraries.tensorflow()
        self._data, hybrids = with_float_weights(model)
        self.remarks: tuple[str, ...] = (_HYBRID.format(hybrids),) if hybrids else ()
        self._float = TfliteReference(self._data)
        self.reference = self._float.name

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """See `FloatModel.run`."""
        return self._float.run(inputs)

    def quantise(self, samples: Sequence[Sequence[Array]], activations: Activations) -> bytes:
        """See `FloatModel.quantise`."""
        tf = libraries.tensorflow()
        function = rebuild(tf, self._data)
        tried = probe(samples)
        got = [np.asarray(value) for value in function(*map(tf.constant, tried))]
        refuse_other_numbers("TensorFlow", got, self.run(tried), self.reference)
        return convert(tf, function, self.boundary.inputs, samples, activations)


def rebuild(tf: Any, data: bytes) -> Callable[..., list[Any]]:
    """Return subgraph 0 of the TFLite file `data` as a function over TensorFlow tensors.

    Raises:
        UnsupportedModel: operators that have no counterpart here, one reason each.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    graph = model.subgraphs[0]
    operators = [names[_code(model, each)] for each in graph.operators]
    unknown = [
        f"operator {number}, {name}, of a TFLite model cannot be quantised; quantise the ONNX or "
        "Keras model it was made from"
        for number, name in enumerate(operators)
        if name not in KERNELS
    ]
    if unknown:
        raise UnsupportedModel(*unknown)
    types = {code: name for name, code in vars(schema.TensorType).items()}
    constants = _constants(model, graph, types)

    def run(*inputs: Any) -> list[Any]:
        values: dict[int, Any] = dict(constants)
        values |= dict(zip(map(int, graph.inputs), inputs, strict=True))
        for name, operator in zip(operators, graph.operators, strict=True):
            given = [None if i == _LEFT_OUT else values[int(i)] for i in operator.inputs]
            shape = _shape(graph.tensors[operator.outputs[0]])
            made = KERNELS[name](tf, given, operator.builtinOptions, shape)
            made = made if isinstance(made, list | tuple) else [made]
            values |= dict(zip(map(int, operator.outputs), made, strict=True))
        return [values[int(index)] for index in graph.outputs]

    return run


def _code(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _shape(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)


def _constants(model: Any, graph: Any, types: dict[int, str]) -> dict[int, Array]:
    found = {}
    for index, tensor in enumerate(graph.tensors):
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data):
            if tensor.quantization is not None and tensor.quantization.scale is not None:
                raise UsageError(
                    f"the constant {tensor.name.decode(errors='replace')!a} is quantised already; "
                    "give the float model it was made from"
                )
            raw = np.asarray(data, np.uint8).tobytes()
            values = np.frombuffer(raw, np.dtype(types[tensor.type].lower()))
            found[index] = values.reshape(_shape(tensor))
    return found
