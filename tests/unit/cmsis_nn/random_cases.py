"""Many random cases of one operator: models of several independent ones, against the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.cmsis_nn.draws import seeds
from tests.unit.cmsis_nn.running import ALL_OFF, Oracle, assert_equal, compiled
from tests.unit.cmsis_nn.schema import Model, T

CASES_A_MODEL = 8
FEW, MANY = 4, 30  # models: for every run of the tests, and for `make test-all`
_RUNS = 2

Case = Callable[[st.DrawFn, Model], None]


amounts = pytest.mark.parametrize(
    "models", [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]
)


def values(rng: np.random.Generator, tensor: T) -> np.ndarray:
    """Random input; now and then all at one end of the range."""
    if tensor.dtype == "float32":
        return rng.normal(0, 3, tensor.shape).astype(np.float32)
    info = np.iinfo(tensor.dtype)
    data = rng.integers(info.min, info.max + 1, tensor.shape)
    if rng.random() < 0.2:
        data[...] = rng.choice([info.min, info.max])
    return data.astype(tensor.dtype)


def check(case: Case, folder: Path, models: int) -> None:
    """Compare ``models × CASES_A_MODEL`` cases, each with and without optimisation."""
    count = 0

    @settings(
        max_examples=models,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        nonlocal count
        count += 1
        model = Model()
        for _ in range(CASES_A_MODEL):
            data.draw(st.composite(lambda draw: case(draw, model))())
        content = model.to_bytes()
        oracle = Oracle(content)
        modules = [
            compiled(content, folder / f"{count}{name}", options)
            for name, options in (("on", {}), ("off", ALL_OFF))
        ]
        rng = np.random.default_rng(data.draw(seeds))
        for _ in range(_RUNS):
            inputs = [values(rng, model.tensors[n]) for n in model.inputs]
            want = oracle.run(inputs, len(model.outputs))
            for module in modules:
                assert_equal(module.run(inputs), want)

    run()
