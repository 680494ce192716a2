"""What the sandbox says of a model is not believed where it cannot be so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import onnx
import pytest
from onnx import helper

from storage.memory import MemoryStore
from tests.unit.models.builders import tiny_onnx
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import CompilerCrashed, UnsupportedModel
from tinymlaas.contract.jobs import Inspection
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.progress import Silent
from workers import sandbox
from workers.inspecting import ModelSource, inspect_stored
from workers.models.limits import DEFAULT_LIMITS, ModelLimits
from workers.models.summary import Inspected, inspect

VAST = DEFAULT_LIMITS.activation_bytes
DATA = tiny_onnx()


def shaped(*shape: int, side: str = "inputs") -> Callable[[Inspected], Inspected]:
    def forge(found: Inspected) -> Inspected:
        first = getattr(found.summary, side)[0].model_copy(update={"shape": shape})
        return told({side: (first,)})(found)

    return forge


def told(update: dict[str, Any]) -> Callable[[Inspected], Inspected]:
    return lambda found: replace(found, summary=found.summary.model_copy(update=update))


def result(found: Inspected, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> Inspection:
    monkeypatch.setattr(sandbox, "call", lambda *_, **__: found)
    source = ModelSource(sha256(DATA), "tiny.onnx", lambda: DATA)
    return inspect_stored(source, {}, "s", store, Silent())


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (shaped(2**36), "take more than"),
        (shaped(VAST // 4 + 1, side="outputs"), "take more than"),
        (shaped(0, 2**40, 2**40), "take more than"),
        (shaped(*[10**4000] * 16), "take more than"),
        (shaped(*[1] * (DEFAULT_LIMITS.rank + 1)), "dimensions"),
        (told({"macs": 10**30}), "multiply-accumulates"),
        (told({"digest": "0" * 64}), "of another model"),
        (told({"format": ModelFormat.TFLITE}), "of another model"),
        (lambda found: replace(found, model=found.model + b"\0"), "of another model"),
    ],
)
def test_an_inspector_that_was_led_astray_is_no_inspection(
    monkeypatch: pytest.MonkeyPatch, forge: Callable[[Inspected], Inspected], said: str
) -> None:
    store, honest = MemoryStore(), inspect(DATA, "tiny.onnx")
    with pytest.raises(CompilerCrashed, match=said) as refused:
        result(forge(honest), store, monkeypatch)
    assert str(refused.value).isprintable()
    assert not list(store.list("")), "and nothing of it is kept"
    assert result(honest, store, monkeypatch).summary == honest.summary


def test_an_honest_inspector_refuses_the_same_in_its_own_words() -> None:
    """Outputs that share memory within the model do not at its boundary."""
    names = [f"y{i}" for i in range(8)]
    shape = (1, 2**16)
    tensors = {
        name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name in ("x", *names)
    }
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in names]
    x = tensors.pop("x")
    graph = helper.make_graph(nodes, "copies", [x], [*tensors.values()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data = bytes(made.SerializeToString())
    needed = inspect(data, "copies.onnx").summary.estimated_ram_bytes
    assert needed < 9 * 4 * shape[1]
    with pytest.raises(UnsupportedModel, match="inputs and outputs take more than"):
        inspect(data, "copies.onnx", limits=ModelLimits(activation_bytes=needed))
