"""The example's trainer, its export and what is checked in of it."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from tinymlaas.contract.model import ModelFormat
from workers.models.reference import open_reference
from workers.models.summary import inspect

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits"
MODEL = (EXAMPLE / "digits.onnx").read_bytes()


@pytest.fixture(scope="module")
def trainer():
    spec = importlib.util.spec_from_file_location("digits_train", EXAMPLE / "train.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def held_out():
    with np.load(EXAMPLE / "test_digits.npz", allow_pickle=False) as data:
        return data["x"], data["labels"]


def answers(model: bytes, images) -> np.ndarray:
    reference = open_reference(model, ModelFormat.ONNX)
    return np.concatenate([reference.run([image[None].astype("f4")])[0] for image in images])


def test_checked_in_model_reaches_its_accuracy(held_out):
    images, labels = held_out
    assert len(labels) >= 300
    assert (answers(MODEL, images).argmax(1) == labels).mean() >= 0.97


def test_first_hundred_hold_every_digit(held_out):
    """The demo runs the first few: they must be a fair sample."""
    assert set(held_out[1][:100].tolist()) == set(range(10))


def test_checked_in_files_are_small():
    for name in ("digits.onnx", "test_digits.npz"):
        assert (EXAMPLE / name).stat().st_size < 40_000


def test_model_is_what_the_readme_says():
    summary = inspect(MODEL, "digits.onnx").summary
    assert summary.parameters == 1898
    assert [(spec.name, spec.shape) for spec in summary.inputs] == [("x", (1, 1, 8, 8))]
    assert [(spec.name, spec.shape) for spec in summary.outputs] == [("probabilities", (1, 10))]
    assert "1,898 parameters" in (EXAMPLE / "README.md").read_text()


def test_held_out_digits_are_those_the_trainer_holds_out(trainer, held_out):
    pytest.importorskip("sklearn", reason="scikit-learn brings the digits")
    training, test = trainer.load()
    assert np.array_equal(test.images, held_out[0])
    assert np.array_equal(test.labels, held_out[1])
    assert len(training.labels) + len(test.labels) == 1797


def test_gradients_are_those_of_finite_differences(trainer):
    generator = np.random.default_rng(0)
    params = {
        name: value.astype("f8") + 0.1 * generator.standard_normal(value.shape)
        for name, value in trainer.initial(generator).items()
    }
    images, labels = generator.standard_normal((3, 1, 8, 8)), np.array([1, 5, 9], "u1")
    _, found = trainer.gradients(params, images, labels)
    step = 1e-6
    for name, value in params.items():
        for _ in range(3):
            place = tuple(generator.integers(0, size) for size in value.shape)
            ends = []
            for sign in (1, -1):
                moved = {each: array.copy() for each, array in params.items()}
                moved[name][place] += sign * step
                ends.append(trainer.gradients(moved, images, labels)[0])
            slope = (ends[0] - ends[1]) / (2 * step)
            assert found[name][place] == pytest.approx(slope, rel=1e-4, abs=1e-7), name


def test_export_computes_what_was_trained(trainer, held_out):
    params = trainer.initial(np.random.default_rng(4))
    images = held_out[0][:8]
    expected = trainer.forward(params, images.astype("f4") / np.float32(16))
    assert np.allclose(answers(trainer.export(params), images), expected, atol=1e-5)
    assert trainer.export(params) == trainer.export(params)


def test_one_epoch_learns_and_repeats(trainer):
    generator = np.random.default_rng(6)
    labels = generator.integers(0, 10, 640).astype("u1")
    images = np.zeros((640, 1, 8, 8), "u1")
    images[np.arange(640), 0, labels % 8, labels // 8 * 4] = 16  # a dot where the class says
    data = trainer.Split(images, labels)
    with trainer.one_thread():
        first, second = (trainer.train(data, epochs=2, seed=1) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    untrained = trainer.accuracy(trainer.initial(np.random.default_rng(1)), data)
    assert trainer.accuracy(first, data) > untrained + 0.3
