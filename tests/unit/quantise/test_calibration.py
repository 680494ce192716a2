import io
import pickle

import numpy as np
import pytest

from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.quantise.calibration import MOST_SAMPLES, load_calibration

IMAGE = TensorSpec(name="image", shape=(1, 4, 4), dtype=DType.FLOAT32)
CLASSES = TensorSpec(name="classes", shape=(1, 3), dtype=DType.FLOAT32)
GOOD = np.linspace(0, 1, 5 * 16, dtype=np.float32).reshape(5, 4, 4)


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def load(data):
    return load_calibration(data, "c.npz", [IMAGE], CLASSES)


def test_samples_come_by_name_or_as_x_and_in_the_inputs_shape():
    for name in ("image", "x"):
        known = load(npz(**{name: GOOD}))
        assert len(known.samples.samples) == 5
        assert known.samples.samples[3][0].shape == (1, 4, 4)
        assert (known.samples.samples[3][0] == GOOD[3]).all()
        assert known.warnings == ()


def test_integer_samples_of_a_float_input_are_converted():
    known = load(npz(x=np.arange(80, dtype=np.uint8).reshape(5, 4, 4)))
    assert known.samples.samples[1][0].dtype == np.float32
    assert known.samples.samples[1][0].max() == 31


def test_one_sample_is_a_warning_not_an_error():
    (warning,) = load(npz(x=GOOD[:1])).warnings
    assert "1 sample" in warning


def test_constant_samples_are_a_warning():
    (warning,) = load(npz(x=np.full((3, 4, 4), 7.0, np.float32))).warnings
    assert "constant 7" in warning


def test_more_samples_than_are_used_is_a_warning():
    many = np.random.default_rng(0).random((MOST_SAMPLES + 1, 4, 4), np.float32)
    known = load(npz(x=many))
    assert len(known.samples.samples) == MOST_SAMPLES
    assert "only the first" in known.warnings[0]


def test_exactly_as_many_samples_as_are_used_are_no_warning():
    many = np.random.default_rng(0).random((MOST_SAMPLES, 4, 4), np.float32)
    known = load(npz(x=many, labels=np.arange(MOST_SAMPLES) % 3))
    assert len(known.samples.samples) == len(known.labels) == MOST_SAMPLES
    assert known.warnings == ()


def with_value(value):
    array = GOOD.copy()
    array[2, 1, 1] = value
    return npz(x=array)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (npz(picture=GOOD), "no array 'image' (it has picture)"),
        (npz(x=GOOD[:, :3]), "a sample of 'image' has shape (3, 4), the input 1×4×4"),
        (npz(x=GOOD.astype(np.complex64)), "is complex64, the input is float32"),
        (npz(x=GOOD[:0]), "holds no samples"),
        (with_value(np.nan), "sample 2 of 'image' holds NaN or infinity"),
        (with_value(np.inf), "sample 2 of 'image' holds NaN or infinity"),
        (npz(x=GOOD.astype(object)), "cannot be read as .npz"),
        (pickle.dumps(GOOD), "cannot be read as .npz"),
        (b"", "cannot be read as .npz"),
        (npz(x=GOOD, labels=np.zeros(4, int)), "different numbers of samples"),
        (npz(x=GOOD, labels=np.zeros(5, np.float32)), "not float32"),
        (npz(x=GOOD, labels=np.full(5, 3)), "label 3 is no class of output 'classes'"),
        (npz(x=GOOD, labels=np.full(5, -1)), "label -1 is no class"),
    ],
)
def test_a_bad_file_is_refused_with_one_line(data, reason):
    with pytest.raises(UsageError) as error:
        load(data)
    (line,) = error.value.reasons
    assert reason in line
    assert line.startswith("c.npz: ")
