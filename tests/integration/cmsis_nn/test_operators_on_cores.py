"""Every operator on cores that differ from the host: 16-bit int, no unaligned access, DSP, MVE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.cmsis_nn.simulate import CORES, simulate
from tests.unit.cmsis_nn import (
    test_pools_and_sums,
    test_single_input_operators,
    test_state,
    test_weighted_operators,
)
from tests.unit.cmsis_nn.draws import seeds
from tests.unit.cmsis_nn.random_cases import Case, values
from tests.unit.cmsis_nn.running import Oracle
from tests.unit.cmsis_nn.schema import Model
from tinymlaas.contract.device import CapabilityClass, Core
from workers.toolchains.toolchain import cannot_link

pytestmark = pytest.mark.slow

TARGETS = {
    "avr": CapabilityClass(core=Core.AVR, cpu="atmega2560"),
    **{name: CORES[name] for name in ("m0+", "m4", "m55", "rv32")},
}
CASES: list[Case] = [
    test_weighted_operators.conv,
    test_weighted_operators.depthwise,
    test_weighted_operators.dense,
    *test_pools_and_sums.CASES,
    *test_single_input_operators.CASES,
    test_state.svdf,
    test_state.lstm,
]
_CASES_A_MODEL = 2
_RUNS = 3


def draw_model(case: Case, seed: int) -> tuple[Model, np.random.Generator]:
    """Return a model of a few cases: the same for the same seed."""
    made: list[tuple[Model, np.random.Generator]] = []

    @settings(
        max_examples=2,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        model = Model()
        for _ in range(_CASES_A_MODEL):
            data.draw(st.composite(lambda draw: case(draw, model))())
        made.append((model, np.random.default_rng(data.draw(seeds) + seed)))

    run()
    return made[-1]  # the first example is the simplest there is


@pytest.mark.parametrize("core", list(TARGETS))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_equals_tflm(case: Case, core: str, tmp_path: Path) -> None:
    target = TARGETS[core]
    if (reason := cannot_link(target.core)) is not None:
        pytest.skip(reason)
    model, rng = draw_model(case, 1)
    data = model.to_bytes()
    oracle = Oracle(data)
    samples = [[values(rng, model.tensors[n]) for n in model.inputs] for _ in range(_RUNS)]
    want = [oracle.run(sample, len(model.outputs)) for sample in samples]
    _, ran = simulate(data, target, tmp_path, samples)
    for expected, got in zip(want, ran.outputs, strict=True):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b.reshape(a.shape))
