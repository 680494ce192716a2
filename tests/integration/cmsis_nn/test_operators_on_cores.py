"""Every operator on cores that differ from the host: 16-bit int, no unaligned access, DSP, MVE."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.integration.cmsis_nn.simulate import CORES, simulate
from tests.unit.cmsis_nn import (
    test_pools_and_sums,
    test_single_input_operators,
    test_state,
    test_weighted_operators,
)
from tests.unit.cmsis_nn.random_cases import Case, draw, merged, values
from tests.unit.cmsis_nn.running import Oracle
from tinymlaas.contract.device import CapabilityClass, Core

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
    test_state.variable,
]
# those that have kernels of their own for DSP and MVE
_SPECIALISED = [*CASES[:3], test_pools_and_sums.add, test_pools_and_sums.average_pool]
_DRAWN = 60  # the first that are drawn are the simplest
_USED = {"avr": 2}
_ELSEWHERE = 25
_RUNS = 3


def runs() -> Iterator[object]:
    for core in TARGETS:
        for case in CASES:
            quick = core in ("m4", "m55") and case in _SPECIALISED
            marks = () if quick else (pytest.mark.slow,)
            yield pytest.param(case, core, id=f"{case.__name__}-{core}", marks=marks)


@pytest.mark.parametrize(("case", "core"), list(runs()))
def test_equals_tflm(case: Case, core: str, tmp_path: Path) -> None:
    target = TARGETS[core]
    model = merged(draw(case, _DRAWN)[-_USED.get(core, _ELSEWHERE) :])
    data, rng = model.to_bytes(), np.random.default_rng(1)
    oracle = Oracle(data)
    samples = [[values(rng, model.tensors[n]) for n in model.inputs] for _ in range(_RUNS)]
    want = [oracle.run(sample, len(model.outputs)) for sample in samples]
    _, ran = simulate(data, target, tmp_path, samples)
    for expected, got in zip(want, ran.outputs, strict=True):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b.reshape(a.shape))
