"""What a task says of an order is what all who may share its result may know."""

from __future__ import annotations

import pytest

from scheduler.planning import inspecting, quantising
from tests.unit.scheduler.world import request
from tinymlaas.contract.messages import Calibration, Payload
from tinymlaas.contract.pool_messages import InspectTask, QuantiseTask


@pytest.mark.parametrize(
    ("filename", "told"), [("secret-project.onnx", "model"), ("secret.tflite", "model.tflite")]
)
def test_a_shared_task_names_no_tenants_file(filename: str, told: str) -> None:
    order = request("a", "1").data
    samples = Payload.of(b"samples", "a", "secret.npz")
    order = order.model_copy(
        update={
            "model": order.model.model_copy(update={"filename": filename}),
            "calibration": Calibration(samples=samples),
        }
    )
    inspect, quantise = inspecting(order, None, "s").work, quantising(order, "s").work
    assert isinstance(inspect, InspectTask)
    assert isinstance(quantise, QuantiseTask)
    assert (inspect.model.filename, quantise.model.filename) == (told, told)
    assert quantise.samples.filename == "calibration"
