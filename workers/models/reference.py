"""What the right answer is: the format's own reference implementation, one thread, unoptimised."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import InvalidModel, UnsupportedModel
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.tensors import DType
from workers.models.quiet import quiet
from workers.models.tflite_model import TfliteGraph, read_tflite
from workers.models.wording import one_line
from workers.verify import tflm_host

Array = NDArray[Any]
Place = tuple[int, int]
"""A tensor between operators: which operator of the file, and which of its outputs, from 0."""
_SILENT = 4
"""onnxruntime's severity "fatal"."""


class Reference(Protocol):
    """A loaded model; `run` may be called any number of times."""

    @property
    def name(self) -> str:
        """Which implementation of which version this is."""
        ...

    @property
    def exact(self) -> bool:
        """Whether a compiler can promise to compute the same bits."""
        ...

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the outputs, in the model's order, for inputs in the model's order; after them
        the tensors that `open_reference` was told to keep.

        Raises:
            UnsupportedModel: the reference cannot compute the model on these inputs.
            InvalidModel: the outputs are of other shapes than the model declares.
        """
        ...


def open_reference(
    data: bytes,
    format: ModelFormat,
    dtype: DType = DType.FLOAT32,
    keep: Sequence[Place] = (),
) -> Reference:
    """Load a static, checked model into the reference implementation of its format.

    `keep` names tensors between its operators, wanted with the outputs.

    A TFLite model that computes in int8 or int16 (`dtype`, see `ModelSummary`) is judged by the
    interpreter of microcontrollers, where that has all its operators: its kernels are what
    CMSIS-NN and our own keep to, while LiteRT's round differently here and there.

    Raises:
        UnsupportedModel: the reference lacks an operator, or refuses the model.
    """
    if format is ModelFormat.ONNX:
        return OnnxReference(data, keep)
    if dtype in (DType.INT8, DType.INT16) and tflm_host.available():
        try:
            return TflmReference(data, keep)
        except UnsupportedModel:
            return TfliteReference(data, keep)
    return TfliteReference(data, keep)


def tensors_between(data: bytes, format: ModelFormat) -> int:
    """Return how many tensors the operators of a static, checked model give."""
    if format is ModelFormat.TFLITE:
        return sum(len(operator.outputs) for operator in read_tflite(data).graphs[0].operators)
    import onnx

    graph = onnx.load_from_string(data).graph
    return sum(bool(name) for node in graph.node for name in node.output)


class OnnxReference:
    """onnxruntime on the CPU, graph optimisations off."""

    def __init__(self, data: bytes, keep: Sequence[Place] = ()) -> None:
        """Load a serialised ``ModelProto`` without external data; see `open_reference`."""
        from workers.models.ort import ort

        names: list[str] = []
        if keep:
            data, names = _with_outputs(data, keep)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a dozen classes, none with a public common base
            raise _refused(self.name, error) from error
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._wanted = names or None

    @property
    def name(self) -> str:
        """``onnxruntime`` and its version."""
        return f"onnxruntime {version('onnxruntime')}"

    @property
    def exact(self) -> bool:
        """False: sums of floats depend on their order."""
        return False

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """See `Reference.run`."""
        try:
            outputs = self._session.run(self._wanted, dict(zip(self._inputs, inputs, strict=True)))
        except Exception as error:  # a dozen classes, none with a public common base
            raise _refused(self.name, error) from error
        return [np.asarray(output) for output in outputs]


class TfliteReference:
    """LiteRT with its reference kernels: no delegate, no SIMD kernels."""

    def __init__(self, data: bytes, keep: Sequence[Place] = ()) -> None:
        """Load a TFLite flatbuffer and allocate its tensors; see `open_reference`."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        graph = read_tflite(data).graphs[0]
        self._declared = [graph.tensors[index].shape for index in graph.outputs]
        try:
            with quiet():
                self._interpreter: Any = Interpreter(
                    model_content=data,
                    experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
                    num_threads=1,
                    experimental_preserve_all_tensors=bool(keep),
                )
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise _refused(self.name, error) from error
        self._inputs = [each["index"] for each in self._interpreter.get_input_details()]
        self._outputs = [each["index"] for each in self._interpreter.get_output_details()]
        self._kept = _numbers(graph, keep)

    @property
    def name(self) -> str:
        """``LiteRT``, its version and which kernels."""
        return f"LiteRT {version('ai-edge-litert')} BUILTIN_REF"

    @property
    def exact(self) -> bool:
        """False: in integers it rounds otherwise than what runs on microcontrollers."""
        return False

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """See `Reference.run`."""
        try:
            for index, value in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(index, value)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise _refused(self.name, error) from error
        outputs = [np.array(self._interpreter.get_tensor(index)) for index in self._outputs]
        # The interpreter works shapes out itself, whatever the file says of them.
        computed = [output.shape for output in outputs]
        if computed != self._declared:
            raise InvalidModel(
                f"the model declares outputs of shapes {self._declared} but computes {computed}"
            )
        return outputs + [np.array(self._interpreter.get_tensor(index)) for index in self._kept]


class TflmReference:
    """TensorFlow Lite Micro's interpreter with its reference kernels."""

    def __init__(self, data: bytes, keep: Sequence[Place] = ()) -> None:
        """Load a TFLite flatbuffer and plan its tensors; see `open_reference`."""
        graph = read_tflite(data).graphs[0]
        self._outputs = len(graph.outputs)
        self._kept = _numbers(graph, keep)
        with quiet():
            self._interpreter = tflm_host.load(data, preserve=bool(keep))

    @property
    def name(self) -> str:
        """``tflite-micro`` and its version."""
        return tflm_host.name()

    @property
    def exact(self) -> bool:
        """True for integers: its kernels are written with portable integer arithmetic."""
        return True

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """See `Reference.run`."""
        with quiet():
            outputs = tflm_host.run(self._interpreter, inputs, self._outputs)
            return outputs + tflm_host.tensors(self._interpreter, self._kept)


def _numbers(graph: TfliteGraph, keep: Sequence[Place]) -> list[int]:
    return [graph.operators[layer].outputs[output] for layer, output in keep]


def _with_outputs(data: bytes, keep: Sequence[Place]) -> tuple[bytes, list[str]]:
    """Return the model with more outputs, and the names of all that are wanted in order."""
    import onnx

    model = onnx.load_from_string(data)
    own = [value.name for value in model.graph.output]
    kept = [model.graph.node[layer].output[output] for layer, output in keep]
    for name in dict.fromkeys(kept):
        if name not in own:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return model.SerializeToString(), own + kept


_BOILERPLATE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


def _refused(name: str, error: BaseException) -> UnsupportedModel:
    reason = _BOILERPLATE.sub("", one_line(error))
    return UnsupportedModel(f"the reference ({name}) cannot run the model: {reason}")
