"""The ONNX package's own backend node tests that TinyML can be asked about.

All of them whose graph inputs are float32 tensors of static shape; none is left out by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class NodeCase:
    """One node test: the model as stored, its inputs in graph order, the outputs it expects.

    `operators` are the graph's own (``Conv``; other domains with a dot before the name).
    """

    name: str
    model: bytes
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    operators: tuple[str, ...]


def collect() -> list[NodeCase]:
    """Return every node test of the installed ``onnx`` with static float32 inputs, by name."""
    import onnx.backend.test

    root = Path(onnx.backend.test.__file__).parent / "data" / "node"
    cases = (_case(folder) for folder in sorted(root.iterdir()))
    return [case for case in cases if case is not None]


def _case(folder: Path) -> NodeCase | None:
    import onnx

    path = folder / "model.onnx"
    if not path.exists():
        return None
    data = path.read_bytes()
    graph = onnx.load_from_string(data).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if not all(_is_static_float(value.type) for value in inputs):
        return None
    stored = folder / "test_data_set_0"
    return NodeCase(
        name=folder.name,
        model=data,
        inputs=tuple(_tensor(stored / f"input_{i}.pb") for i in range(len(inputs))),
        outputs=_outputs(stored, graph),
        operators=tuple(
            f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in graph.node
        ),
    )


def _is_static_float(kind) -> bool:
    import onnx

    tensor = kind.tensor_type
    return (
        kind.HasField("tensor_type")
        and tensor.elem_type == onnx.TensorProto.FLOAT
        and tensor.HasField("shape")
        and all(dim.HasField("dim_value") for dim in tensor.shape.dim)
    )


def _outputs(stored: Path, graph) -> tuple[Array, ...]:
    """Return the expected outputs; none if some output is not a tensor (sequence, optional)."""
    if not all(value.type.HasField("tensor_type") for value in graph.output):
        return ()
    return tuple(_tensor(stored / f"output_{i}.pb") for i in range(len(graph.output)))


def _tensor(path: Path) -> Array:
    import onnx
    from onnx import numpy_helper

    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor)
