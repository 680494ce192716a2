"""The MLPerf Tiny reference models beside the project, against what their README states."""

from pathlib import Path

import pytest

from tinymlaas.contract.tensors import DType
from workers.models.golden import golden_inputs
from workers.models.reference import open_reference
from workers.models.summary import inspect
from workers.verify.numerics import compare

MODELS = Path(__file__).parents[4] / "shared" / "models" / "mlperf-tiny"
MACS = {"kws": 2_656_768, "ic": 12_501_632, "vww": 7_489_664, "ad": 264_192}
INPUTS = {
    **{"kws": ("input_1", (1, 49, 10, 1)), "ic": ("input_1", (1, 32, 32, 3))},
    **{"vww": ("input_1", (1, 96, 96, 3)), "ad": ("input_1", (1, 640))},
}
OUTPUTS = {"kws": 12, "ic": 10, "vww": 2, "ad": 640}

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not MODELS.is_dir(), reason=f"no reference models in {MODELS}"),
]


def load(name: str) -> bytes:
    return (MODELS / f"{name}.tflite").read_bytes()


@pytest.mark.parametrize("task", MACS)
@pytest.mark.parametrize("kind", ["int8", "fp32"])
def test_facts(task, kind):
    data = load(f"{task}_{kind}")
    found = inspect(data, task)
    summary = found.summary
    assert found.model == data
    assert summary.macs == MACS[task]
    assert summary.dtype is (DType.INT8 if kind == "int8" else DType.FLOAT32)
    assert summary.inputs[0].shape == INPUTS[task][1]
    assert summary.outputs[0].shape == (1, OUTPUTS[task])
    assert (summary.inputs[0].quantization is not None) == (kind == "int8")


@pytest.mark.parametrize("task", MACS)
def test_the_stored_shape_may_be_given_explicitly(task):
    data = load(f"{task}_fp32")
    name, shape = INPUTS[task]
    assert inspect(data, task, {name: shape}).model == data


@pytest.mark.parametrize("name", ["kws_fp32", "ad_int8"])
def test_reference_is_repeatable_to_the_bit_and_not_constant(name):
    found = inspect(load(name), name)
    samples = golden_inputs(found.summary, 3)
    first, second = (
        [open_reference(found.model, found.format).run(sample) for sample in samples]
        for _ in range(2)
    )
    assert compare(first, second, 0).bit_exact
    assert not compare(first[:1], first[1:2], 0).bit_exact


def test_another_batch():
    found = inspect(load("kws_int8"), "kws", {"input_1": (4, 49, 10, 1)})
    assert found.summary.macs == 4 * MACS["kws"]
    (sample,) = golden_inputs(found.summary, 1)
    (output,) = open_reference(found.model, found.format).run(sample)
    assert output.shape == (4, 12)
