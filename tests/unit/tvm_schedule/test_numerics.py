"""Scheduled functions compute what the unscheduled ones compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tvm")

from tests.unit.tvm_schedule import cases

_FAMILIES = {
    "convolutions": lambda: cases.convolutions(40, seed=1),
    "others": cases.others,
    "integers": cases.integer_convolutions,
}


def _compare(modules: dict[str, Any], target: Any) -> list[str]:
    """Return the names of the functions of which the scheduled form gives other numbers."""
    plain: dict[str, Any] = {}
    for name, mod in modules.items():
        plain |= {f"{name}_{n}": f for n, f in cases.functions(mod).items()}
    scheduled = {name: cases.rearranged(func, target) for name, func in plain.items()}
    arguments = {name: cases.random_arguments(func, 7) for name, func in plain.items()}
    expected = cases.run_all(plain, arguments)
    got = cases.run_all(scheduled, arguments)
    wrong = []
    for name, values in expected.items():
        scale = max(1.0, float(np.abs(values).max())) if values.dtype.kind == "f" else 0.0
        if not np.allclose(got[name], values, rtol=0, atol=2e-6 * scale):
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("family", _FAMILIES)
def test_same_numbers_on_an_fpu_core(family: str) -> None:
    assert _compare(_FAMILIES[family](), cases.CORTEX_M4) == []


@pytest.mark.parametrize("target", [cases.CORTEX_M0PLUS, cases.AVR, cases.HOST])
def test_same_numbers_with_other_registers(target: Any) -> None:
    modules = {**cases.convolutions(12, seed=2), **cases.integer_convolutions()}
    assert _compare(modules, target) == []
