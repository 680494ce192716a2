"""A service with a store of its own and compilers from outside, and models to race with."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tinymlaas.contract.progress import Silent
from tinymlaas.local import LocalService
from tinymlaas.settings import Settings

PLUGIN = Path(__file__).parents[3] / "examples" / "plugin"
DIGITS = Path(__file__).parents[3] / "examples" / "digits"
MLPERF = Path(__file__).parents[4] / "shared" / "models" / "mlperf-tiny"


def service(folder: Path, cache: Path, *compilers: Path) -> LocalService:
    settings = Settings(folder / "store", cache, folder / "keys", compilers)
    return LocalService(settings, Silent())


def planted(folder: Path, name: str, formula: str) -> Path:
    """Return a copy of the example plugin called `name` that computes `formula` for Relu."""
    made = folder / name
    made.mkdir()
    (made / "compiler.toml").write_text(
        f'name = "{name}"\nversion = "1.0"\ncommand = ["python3", "elementwise.py"]\n'
    )
    source = (PLUGIN / "elementwise.py").read_text().replace('"elementwise"', f'"{name}"')
    right = '"{0} > 0.0f ? {0} : 0.0f"'
    assert source.count(right) == 1
    (made / "elementwise.py").write_text(source.replace(right, f'"{formula}"'))
    return made


def slow(folder: Path, name: str) -> Path:
    """Return a copy of the example plugin called `name` that takes ten minutes to compile."""
    made = planted(folder, name, "{0} > 0.0f ? {0} : 0.0f")
    source = (made / "elementwise.py").read_text()
    start = "def compile_model(task, model, out):\n"
    assert source.count(start) == 1
    source = source.replace(start, f"{start}    import time\n\n    time.sleep(600)\n")
    (made / "elementwise.py").write_text(source)
    return made


def relu(folder: Path, size: int = 64) -> Path:
    """Write x → relu(x), and return the file."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, size))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, size))],
    )
    opset = [helper.make_opsetid("", 17)]
    path = folder / "relu.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
    return path


def dense(folder: Path, classes: int = 4, inputs: int = 16) -> Path:
    """Write a classifier whose weights are known, and return the file."""
    weights = np.random.default_rng(7).standard_normal((inputs, classes)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, inputs))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, classes))],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    path = folder / "dense.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
    return path
