"""The MLPerf Tiny int8 models on every simulated core, bit for bit TFLM's outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.integration.cmsis_nn.simulate import CORES, simulate
from tests.unit.cmsis_nn.running import ALL_OFF, Oracle
from tests.unit.cmsis_nn.test_mlperf import ARENA_GOALS, MODELS, content, samples
from workers.toolchains.toolchain import cannot_link

pytestmark = [pytest.mark.shared, pytest.mark.slow]


@pytest.mark.parametrize("options", [{}, ALL_OFF], ids=["optimised", "plain"])
@pytest.mark.parametrize("core", list(CORES))
@pytest.mark.parametrize("name", MODELS)
def test_equals_tflm(name: str, core: str, options: dict[str, str], tmp_path: Path) -> None:
    data, target = content(name), CORES[core]
    if (reason := cannot_link(target.core)) is not None:
        pytest.skip(reason)
    oracle = Oracle(data)
    inputs = samples(oracle.interpreter.get_input_details(0)["shape"])
    compiled, ran = simulate(data, target, tmp_path, [[i] for i in inputs], options)
    for given, (got,) in zip(inputs, ran.outputs, strict=True):
        (want,) = oracle.run([given], 1)
        np.testing.assert_array_equal(got, want)
    if not options:
        assert compiled.arena.size <= ARENA_GOALS[name]
