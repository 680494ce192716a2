"""A model and a board for which each objective has a winner of its own."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.integration.race.services import service
from tinymlaas import quantising
from tinymlaas.contract.report import CandidateReport, Objective
from tinymlaas.local import Wish

SIZES = (8, 6, 4)


def dense_with_leaky_relu(folder: Path) -> Path:
    """Two small dense layers, then a leaky relu, for which integer kernels need a table."""
    rng = np.random.default_rng(1)
    nodes, constants, last = [], [], "x"
    for number, (inputs, outputs) in enumerate(itertools.pairwise(SIZES)):
        weights = rng.standard_normal((inputs, outputs)).astype(np.float32) * 0.3
        biases = rng.standard_normal(outputs).astype(np.float32)
        constants += [numpy_helper.from_array(weights, f"w{number}")]
        constants += [numpy_helper.from_array(biases, f"b{number}")]
        nodes += [helper.make_node("Gemm", [last, f"w{number}", f"b{number}"], [f"c{number}"])]
        nodes += [helper.make_node("Relu", [f"c{number}"], [f"r{number}"])]
        last = f"r{number}"
    nodes[-1] = helper.make_node("LeakyRelu", [nodes[-1].input[0]], ["y"], alpha=0.1)
    graph = helper.make_graph(
        nodes,
        "leaky",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, SIZES[0]))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, SIZES[-1]))],
        constants,
    )
    opset = [helper.make_opsetid("", 17)]
    path = folder / "leaky.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
    samples = rng.standard_normal((50, SIZES[0])).astype(np.float32)
    np.savez(folder / "samples.npz", x=samples)
    return path


@pytest.mark.slow
def test_all_three_objectives_choose_differently(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fast: int8 with special kernels. Small code: float, without tables. Small RAM: int8 with
    generic kernels, whose stack is smaller.
    """
    monkeypatch.setenv("TINYMLAAS_STORE", str(tmp_path / "store"))
    model = dense_with_leaky_relu(tmp_path)
    racing = service(tmp_path, cache)
    winners: dict[Objective, CandidateReport] = {}
    with quantising.forms_of(model, False, tmp_path / "samples.npz", {}) as found:
        for objective in Objective:
            wish = Wish(objective=objective)
            done = racing.compile_forms(found.forms, "nucleo-l4r5zi", wish, tmp_path).result
            assert done.chosen is not None
            winners[objective] = done.candidates[done.chosen]
    fast, small, lean = (winners[objective] for objective in Objective)
    told = [(w.compiler, w.quantised, w.options.get("specialise")) for w in winners.values()]
    assert told == [("cmsis-nn", True, "on"), ("tvm", False, None), ("cmsis-nn", True, "off")]
    others = (small, lean)
    assert all(fast.instructions * 1.02 < other.instructions for other in others)
    assert all(small.flash_bytes * 1.02 < other.flash_bytes for other in (fast, lean))
    assert all(lean.ram_bytes * 1.02 < other.ram_bytes for other in (fast, small))
