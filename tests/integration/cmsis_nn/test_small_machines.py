"""Where memory is short: an AVR, and a micro:bit whose RAM the module nearly fills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.integration.cmsis_nn.simulate import CORES, simulate
from tests.unit.cmsis_nn.running import ALL_OFF, Oracle
from tests.unit.cmsis_nn.schema import Model, T
from tests.unit.cmsis_nn.test_arm import network
from tests.unit.cmsis_nn.test_mlperf import MODELS, content
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.cmsis_nn.build import build
from workers.compilers.cmsis_nn.switches import Switches

AVR = CapabilityClass(core=Core.AVR, cpu="atmega2560")
_RUNS = 8


@pytest.mark.parametrize("options", [{}, ALL_OFF], ids=["optimised", "plain"])
def test_a_network_equals_tflm_on_an_avr(options: dict[str, str], tmp_path: Path) -> None:
    data, rng = network().to_bytes(), np.random.default_rng(8)
    samples = [[rng.integers(-128, 128, (1, 6, 6, 3)).astype(np.int8)] for _ in range(_RUNS)]
    _, ran = simulate(data, AVR, tmp_path, samples, options)
    assert ran.machine == "simavr-atmega2560"
    oracle = Oracle(data)
    for sample, (got,) in zip(samples, ran.outputs, strict=True):
        np.testing.assert_array_equal(got, oracle.run(sample, 1)[0])


@pytest.mark.shared
@pytest.mark.parametrize("name", MODELS)
def test_models_too_large_for_an_avr_are_refused(name: str) -> None:
    """None of the four fits: the smallest, kws, has 29 kB of constants and 8.5 kB of arena."""
    with pytest.raises(UnsupportedModel, match="B for constants, which an AVR keeps in RAM"):
        build(content(name), "net_run", AVR, Switches())


@pytest.mark.parametrize(("size", "machine"), [(8_000, "microbit"), (16_240, "mps2-an385")])
def test_a_module_without_room_for_its_stack_runs_on_a_larger_machine(
    size: int, machine: str, tmp_path: Path
) -> None:
    """Of the micro:bit's 16 kB such a module leaves fewer bytes than it needs for calls."""
    model = Model()
    source = model.input(T((1, size), "int8", 0.05, 3))
    model.outputs.append(model.op("LOGISTIC", (source,), T((1, size), "int8", 1 / 256, -128)))
    data, rng = model.to_bytes(), np.random.default_rng(9)
    sample = rng.integers(-128, 128, (1, size)).astype(np.int8)
    _, ran = simulate(data, CORES["m0+"], tmp_path, [[sample]])
    assert ran.machine == machine
    np.testing.assert_array_equal(ran.outputs[0][0], Oracle(data).run([sample], 1)[0])
