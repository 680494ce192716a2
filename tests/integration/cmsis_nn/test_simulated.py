"""The MLPerf Tiny int8 models on every simulated core, bit for bit TFLM's outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.integration.cmsis_nn.simulate import CORES, simulate
from tests.unit.cmsis_nn.running import ALL_OFF, Oracle
from tests.unit.cmsis_nn.test_mlperf import ARENA_GOALS, DATA_GOALS, MODELS, content
from tinymlaas.contract.model import ModelFormat
from workers.models.golden import golden_inputs
from workers.models.summary import summarise

pytestmark = pytest.mark.shared

FEW, MANY = 3, 20  # random inputs beside the golden one
OPTIONS = {"optimised": {}, "plain": ALL_OFF}


def quick() -> set[tuple[str, str, str]]:
    """Two runs a core for every run of the tests: each model with all passes and with none."""
    chosen = set()
    for number, core in enumerate(CORES):
        chosen.add((MODELS[number % len(MODELS)], core, "optimised"))
        chosen.add((MODELS[(number + 1) % len(MODELS)], core, "plain"))
    return chosen


def cases() -> Iterator[object]:
    for name in MODELS:
        for core in CORES:
            for option in OPTIONS:
                which = (name, core, option)
                yield pytest.param(*which, MANY, id="-".join(which), marks=pytest.mark.slow)
                if which in quick():
                    yield pytest.param(*which, FEW, id=f"{'-'.join(which)}-few")


def inputs(data: bytes, count: int) -> list[np.ndarray]:
    """The golden input and `count` random ones."""
    ((golden,),) = golden_inputs(summarise(data, ModelFormat.TFLITE), 1)
    rng = np.random.default_rng(11)
    random = [rng.integers(-128, 128, golden.shape).astype(np.int8) for _ in range(count)]
    return [np.asarray(golden, np.int8), *random]


@pytest.mark.parametrize(("name", "core", "option", "count"), list(cases()))
def test_equals_tflm(name: str, core: str, option: str, count: int, tmp_path: Path) -> None:
    data, target = content(name), CORES[core]
    oracle, given = Oracle(data), inputs(data, count)
    compiled, ran = simulate(data, target, tmp_path, [[i] for i in given], OPTIONS[option])
    assert len(ran.outputs) == count + 1
    distinct = set()
    for sample, (got,) in zip(given, ran.outputs, strict=True):
        (want,) = oracle.run([sample], 1)
        np.testing.assert_array_equal(got, want)
        distinct.add(want.tobytes())
    assert len(distinct) > 1  # a model that answers the same to everything proves nothing
    if option == "optimised":
        assert compiled.arena.size <= ARENA_GOALS[name]
        assert compiled.weight_bytes <= DATA_GOALS[name]


def test_every_core_and_model_is_in_the_quick_runs() -> None:
    assert {core for _, core, _ in quick()} == set(CORES)
    assert {(name, option) for name, _, option in quick()} == {
        (name, option) for name in MODELS for option in OPTIONS
    }
