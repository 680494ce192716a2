"""Every kernel, on every core, against NumPy: random layers, many in one firmware."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.unit.cmsis_nn_special import firmware, random_layers, reference
from workers.compilers.cmsis_nn.special import specialise
from workers.compilers.cmsis_nn.special.layers import Options

FEW, MANY = 30, 200


def _cases(kind: str, board: str, count: int) -> list[firmware.Case]:
    rng = np.random.default_rng(zlib.crc32(kind.encode()))
    cases = []
    for index in range(count):
        layer = random_layers.MAKERS[kind](rng)
        given = random_layers.inputs(rng, layer)
        limit = int(rng.choice([0, 64, 300])) if rng.random() < 0.2 else None
        options = Options("flash" if rng.random() < 0.3 else "latency", limit)
        kernel = specialise(layer, firmware.BOARDS[board].target, f"k{index}", options)
        if kernel is None:
            assert limit is not None or kind in ("pool", "add"), layer
            continue
        assert limit is None or kernel.scratch_bytes <= limit
        in_place = kernel.in_place and bool(rng.random() < 0.5)
        expected = reference.evaluate(layer, *given)
        cases.append(firmware.Case(kernel, given, expected, in_place))
    return cases


def _check(kind: str, board: str, count: int, folder: Path, optimise: str = "-O2") -> None:
    needed = firmware.BOARDS[board]
    cases = _cases(kind, board, count)
    assert len(cases) > count // 2
    answers = firmware.run(cases, needed, folder, optimise)
    assert len(answers) == len(cases)
    wrong = {
        case.kernel.function: answer
        for case, answer in zip(cases, answers, strict=True)
        if answer.wrong or answer.guards
    }
    assert not wrong


@pytest.mark.parametrize("kind", random_layers.MAKERS)
@pytest.mark.parametrize("board", firmware.BOARDS)
def test_random_layers_are_exact(kind, board, tmp_path):
    _check(kind, board, FEW, tmp_path)


@pytest.mark.parametrize("optimise", ["-O0", "-Os"])
@pytest.mark.parametrize("kind", random_layers.MAKERS)
@pytest.mark.parametrize("board", ["m4"])
def test_however_it_is_compiled(kind, board, optimise, tmp_path):
    _check(kind, board, FEW, tmp_path, optimise)


@pytest.mark.slow
@pytest.mark.parametrize("kind", random_layers.MAKERS)
@pytest.mark.parametrize("board", firmware.BOARDS)
def test_many_random_layers_are_exact(kind, board, tmp_path):
    _check(kind, board, MANY, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("optimise", ["-O0", "-O1", "-Os", "-O3"])
@pytest.mark.parametrize("kind", random_layers.MAKERS)
@pytest.mark.parametrize("board", [name for name in firmware.BOARDS if name != "host"])
def test_however_it_is_compiled_on_every_core(kind, board, optimise, tmp_path):
    _check(kind, board, FEW, tmp_path, optimise)
