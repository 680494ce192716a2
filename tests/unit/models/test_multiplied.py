"""Of a model's constants only those count as needed that no compiler could leave out."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from workers.models.summary import inspect

W, W2 = (
    np.random.default_rng(1).standard_normal((10, 4)).astype(np.float32),
    np.random.default_rng(2).standard_normal((10, 4)).astype(np.float32),
)
NEEDED = W.nbytes


def summary(nodes: list, shape: tuple[int, ...], constants: dict[str, np.ndarray]):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 10))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return inspect(model.SerializeToString(), "m.onnx").summary


def node(kind: str, reads: str, write: str, **attributes):
    return helper.make_node(kind, reads.split(), [write], **attributes)


PRODUCT = node("MatMul", "x w", "y")


@pytest.mark.parametrize(
    ("nodes", "constants", "needed"),
    [
        pytest.param([PRODUCT], {"w": W}, NEEDED, id="multiplied"),
        pytest.param([PRODUCT], {"w": W, "v": W2}, NEEDED, id="nobody reads the other"),
        pytest.param(
            [PRODUCT, node("MatMul", "x v", "d")], {"w": W, "v": W2}, NEEDED, id="dead branch"
        ),
        pytest.param(
            [node("Add", "v u", "w"), PRODUCT], {"v": W, "u": W2}, 0, id="folded into one"
        ),
        pytest.param(
            [
                node("MatMul", "x w", "a"),
                node("MatMul", "x v", "b"),
                node("Add", "a b", "y"),
            ],
            {"w": W, "v": W2},
            2 * NEEDED,
            id="two branches",
        ),
        pytest.param(
            [
                node("MatMul", "x w", "a"),
                node("Gemm", "x v", "b", transB=1),
                node("Add", "a b", "y"),
            ],
            {"w": W, "v": np.ascontiguousarray(W.T)},
            NEEDED,
            id="the same transposed",
        ),
        pytest.param(
            [node("MatMul", "x w", "a"), node("Shape", "a", "s"), node("Cast", "s", "y", to=1)],
            {"w": W},
            0,
            id="only its shape is wanted",
        ),
        pytest.param([node("Relu", "x", "y")], {}, 0, id="nothing multiplied"),
    ],
)
def test_what_is_needed(nodes: list, constants: dict[str, np.ndarray], needed: int) -> None:
    shape = {"Relu": (1, 10), "Cast": (2,)}.get(nodes[-1].op_type, (1, 4))
    assert summary(nodes, shape, constants).multiplied_bytes == needed
