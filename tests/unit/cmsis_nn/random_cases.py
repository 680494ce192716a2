"""Many random cases of one operator against the oracle.

Hypothesis draws the cases one by one; they are then put together into a few models of many
independent operators, since it is compiling and loading that takes the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.unit.cmsis_nn.running import ALL_OFF, Module, Oracle, assert_equal, compiled
from tests.unit.cmsis_nn.schema import Model, T

FEW, MANY = 50, 600  # cases: for every run of the tests, and for `make test-all`
PLAIN = 25
CASES_A_MODEL = 25
_RUNS = 3
_ROUNDS = 4  # of drawing, since some cases are alike

Case = Callable[[st.DrawFn, Model], None]


amounts = pytest.mark.parametrize(
    "wanted", [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]
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


def draw(case: Case, wanted: int) -> list[Model]:
    """Return `wanted` different cases, the same every time.

    Raises:
        AssertionError: there are not that many.
    """
    found: dict[bytes, Model] = {}
    for number in range(_ROUNDS):
        _collect(case, found, number, max_examples=wanted + wanted // 10)
        if len(found) >= wanted:
            return list(found.values())[:wanted]
    raise AssertionError(f"only {len(found)} different cases")


def _collect(case: Case, found: dict[bytes, Model], number: int, max_examples: int) -> None:
    @seed(number)
    @settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def collect(data: st.DataObject) -> None:
        model = Model()
        data.draw(st.composite(lambda draw: case(draw, model))())
        found.setdefault(model.to_bytes(), model)

    collect()


def merged(cases: Sequence[Model]) -> Model:
    """Return one model of independent `cases`."""
    whole = Model()
    for case in cases:
        whole.absorb(case)
    return whole


def check(case: Case, folder: Path, wanted: int) -> None:
    """Compare `wanted` cases with the oracle, and the first `PLAIN` without optimisation too.

    With more than `FEW` cases all of them are.
    """
    cases = draw(case, wanted)
    plain = wanted if wanted > FEW else PLAIN
    for first in range(0, wanted, CASES_A_MODEL):
        part = cases[first : first + CASES_A_MODEL]
        model = merged(part)
        content = model.to_bytes()
        modules = [compiled(content, folder / f"{first}on")]
        if first < plain:
            modules.append(compiled(content, folder / f"{first}off", ALL_OFF))
        _compare(part, model, Oracle(content), modules, np.random.default_rng(first))


def _compare(
    cases: Sequence[Model],
    model: Model,
    oracle: Oracle,
    modules: Sequence[Module],
    rng: np.random.Generator,
) -> None:
    told = [describe(case) for case in cases for _ in case.outputs]
    for _ in range(_RUNS):
        inputs = [values(rng, model.tensors[n]) for n in model.inputs]
        want = oracle.run(inputs, len(model.outputs))
        for module in modules:
            got = module.run(inputs)
            for number, note in enumerate(told):
                assert_equal(got[number : number + 1], want[number : number + 1], note)


def describe(case: Model) -> str:
    """Say what a case is made of, without its constants' values."""
    tensors = [(t.shape, t.dtype, t.scale, t.zero, t.data is not None) for t in case.tensors]
    return f"{[(op.name, op.options) for op in case.operators]} over {tensors}"
