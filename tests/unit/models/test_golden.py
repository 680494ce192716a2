"""Golden inputs: the same everywhere, different by model, and wide enough to tell errors."""

import numpy as np
import pytest

from tests.unit.models.builders import tiny_onnx
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.models.golden import golden_inputs
from workers.models.summary import inspect

SUMMARY = inspect(tiny_onnx(), "tiny").summary


def summary_of(*specs: TensorSpec, digest: str = "0" * 64):
    return SUMMARY.model_copy(update={"inputs": specs, "digest": digest})


def spec(dtype: DType, *shape: int) -> TensorSpec:
    return TensorSpec(name="x", shape=shape, dtype=dtype)


def test_stream_is_pinned():
    """A change of these bytes changes every module archive: only on purpose."""
    samples = golden_inputs(
        summary_of(spec(DType.FLOAT32, 2, 3), spec(DType.INT8, 5)), count=4, seed=0
    )
    data = b"".join(value.tobytes() for sample in samples for value in sample)
    assert sha256(data) == "b240b7566277ff946ad7614a37d983b47e368c6307478fda0b3ecaa7ed2c4d13"


@pytest.mark.parametrize("dtype", DType)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 4)])
def test_form(dtype, shape):
    for sample in golden_inputs(summary_of(spec(dtype, *shape)), 5):
        (value,) = sample
        assert isinstance(value, np.ndarray)
        assert value.shape == shape
        assert value.dtype == np.dtype(dtype.value)


def test_depends_on_model_and_seed_only():
    tensor = spec(DType.FLOAT32, 8)

    def first(digest, seed):
        return golden_inputs(summary_of(tensor, digest=digest * 64), 1, seed)[0][0].tobytes()

    assert first("a", 0) == first("a", 0)
    assert len({first("a", 0), first("b", 0), first("a", 1)}) == 3


def test_a_prefix_stays_when_more_samples_are_asked_for():
    tensor = spec(DType.FLOAT32, 8)
    few, many = (golden_inputs(summary_of(tensor), count) for count in (2, 6))
    assert all(np.array_equal(a, b) for (a,), (b,) in zip(few, many, strict=False))


def test_float_distributions():
    normal, symmetric, positive, wide = (
        sample[0] for sample in golden_inputs(summary_of(spec(DType.FLOAT32, 20_000)), 4)
    )
    assert abs(normal.mean()) < 0.05
    assert normal.std() == pytest.approx(1, abs=0.05)
    assert wide.std() == pytest.approx(4, abs=0.2)
    assert (symmetric.min(), symmetric.max()) == pytest.approx((-1, 1), abs=0.01)
    assert (positive.min(), positive.max()) == pytest.approx((0, 1), abs=0.01)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        *((DType.INT8, -128, 127), (DType.UINT8, 0, 255), (DType.BOOL, 0, 1)),
        *((DType.INT32, 0, 3), (DType.INT64, 0, 3)),
    ],
)
def test_integers_reach_both_ends(dtype, low, high):
    ((value,),) = golden_inputs(summary_of(spec(dtype, 5000)), 1)
    assert (int(value.min()), int(value.max())) == (low, high)
