"""Computes single ONNX nodes on constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

# Never computed here: random, or (dequantising) four times larger afterwards.
NOT_FOLDED = frozenset(
    [
        "Bernoulli",
        "DequantizeLinear",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    ]
)


def evaluate(
    node: onnx.NodeProto, inputs: Sequence[Array | None], opsets: Sequence[onnx.OperatorSetIdProto]
) -> list[Array] | None:
    """Return the outputs of `node` on `inputs` (None where left out) by ONNX's reference
    implementation, or None if it has no answer.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    feeds = {name: array for name, array in zip(node.input, inputs, strict=True) if name}
    empty = onnx.TypeProto()
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_value_info(name, empty) for name in feeds],
        [onnx.helper.make_value_info(name, empty) for name in node.output if name],
    )
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # the importer may still know the operator
        return None
    return None if any(not _is_tensor(r) for r in results) else [np.asarray(r) for r in results]


def _is_tensor(value: object) -> bool:
    return isinstance(value, np.ndarray | np.generic)
