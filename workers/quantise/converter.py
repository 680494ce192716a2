"""TensorFlow's converter: a function over float tensors and samples → an integer TFLite model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.quantisation import Activations
from tinymlaas.contract.tensors import TensorSpec
from workers.models.wording import one_line

Array = NDArray[Any]

_INPUT = "in_{}"
_LOOPS = ("While", "StatelessWhile", "If", "StatelessIf")


def convert(
    tf: Any,
    function: Callable[..., Any],
    inputs: Sequence[TensorSpec],
    samples: Sequence[Sequence[Array]],
    activations: Activations,
) -> bytes:
    """Quantise `function`, which takes tensors of `inputs` and returns a list of tensors.

    Variables are frozen. Inputs and outputs are int8 (or int16),
    weights int8, per channel where the operator allows it; ranges are the extremes seen in
    `samples`.

    Raises:
        UnsupportedModel: an operator has no integer form; names those the converter names.
            Or the function has loops or branches.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    signature = [
        tf.TensorSpec(spec.shape, spec.dtype.value, name=_INPUT.format(number))
        for number, spec in enumerate(inputs)
    ]
    concrete = tf.function(function).get_concrete_function(*signature)
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    _refuse_loops(frozen.graph)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = _dataset(samples)
    sets, kind = tf.lite.OpsSet, tf.int8
    if activations is Activations.INT16X8:
        kind = tf.int16
        wanted = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    else:
        wanted = sets.TFLITE_BUILTINS_INT8
    converter.target_spec.supported_ops = [wanted]
    converter.inference_input_type = converter.inference_output_type = kind
    try:
        return bytes(converter.convert())
    except (RuntimeError, ValueError) as error:  # ConverterError is neither public nor of its own
        raise UnsupportedModel(f"TensorFlow cannot quantise the model: {_reason(error)}") from error
    except Exception as error:
        if type(error).__name__ != "ConverterError":
            raise
        raise UnsupportedModel(f"TensorFlow cannot quantise the model: {_reason(error)}") from error


def _refuse_loops(graph: Any) -> None:
    """Refuse what crashes the converter's quantiser instead of being refused by it."""
    loops = sorted({each.type for each in graph.get_operations() if each.type in _LOOPS})
    if loops:
        raise UnsupportedModel(
            f"loops and branches ({', '.join(loops)}) have no integer form; Keras makes loops of "
            "recurrent layers unless they have unroll=True"
        )


def _dataset(samples: Sequence[Sequence[Array]]) -> Callable[[], Iterator[list[Array]]]:
    def each() -> Iterator[list[Array]]:
        for sample in samples:
            yield [np.ascontiguousarray(value) for value in sample]

    return each


def _reason(error: Exception) -> str:
    """Return what a person needs of the converter's pages: its operators, or the first error."""
    text = str(error)
    operators = sorted(set(re.findall(r"'?(tfl?\.[A-Za-z0-9_]+)'? op", text)))
    if operators:
        return f"no integer form of {', '.join(operators)}"
    return one_line(error)[:300]
