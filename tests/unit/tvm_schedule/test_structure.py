"""What makes scheduled code fast is there: sums in registers, no copies, contiguous short loops."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("tvm")

from tests.unit.tvm_schedule import cases

_REGISTERS = 30


def _padded_convolution() -> Any:
    from tvm import relax

    def build(x: Any, w: Any, b: Any) -> Any:
        options = {"padding": 1, "data_layout": "NHWC", "kernel_layout": "HWIO"}
        return relax.op.nn.relu(relax.op.add(relax.op.nn.conv2d(x, w, **options), b))

    return cases.module(build, (1, 16, 16, 8), (3, 3, 8, 12), (12,))


def _depthwise() -> Any:
    from tvm import relax

    def build(x: Any, w: Any, b: Any) -> Any:
        options = {"padding": 1, "groups": 64, "data_layout": "NHWC", "kernel_layout": "HWOI"}
        return relax.op.nn.relu(relax.op.add(relax.op.nn.conv2d(x, w, **options), b))

    return cases.module(build, (1, 25, 5, 64), (3, 3, 64, 1), (64,))


def _dense() -> Any:
    from tvm import relax

    def build(x: Any, w: Any, b: Any) -> Any:
        return relax.op.nn.relu(relax.op.add(relax.op.matmul(x, w), b))

    return cases.module(build, (1, 640), (640, 128), (128,))


def _pool() -> Any:
    from tvm import relax

    return cases.module(
        lambda x: relax.op.nn.max_pool2d(x, (3, 3), (2, 2), (1, 1, 1, 1), layout="NHWC"),
        (1, 20, 20, 16),
    )


_MODULES = {
    "convolution": _padded_convolution,
    "depthwise": _depthwise,
    "dense": _dense,
    "pool": _pool,
}


def _one(mod: Any) -> Any:
    (func,) = cases.functions(mod).values()
    return func


def _lowered(func: Any) -> Any:
    import tvm

    from workers.compilers.tvm.lower import lower

    return lower(tvm.IRModule({"f": func}))["f"]


def _nodes(func: Any, kind: Any) -> list[Any]:
    import tvm_ffi

    found: list[Any] = []
    tvm_ffi.structural_walk(func.body, (kind, found.append))
    return found


def _loads_own_output(func: Any) -> bool:
    from tvm.ir import TensorLoad
    from tvm.tirx import BufferStore

    stored = {
        store.buffer
        for store in _nodes(func, BufferStore)
        if str(store.buffer.ty.storage_scope) != "local"
    }
    return any(load.source in stored for load in _nodes(func, TensorLoad))


@pytest.mark.parametrize("name", _MODULES)
def test_sums_are_never_in_memory(name: str) -> None:
    func = _one(_MODULES[name]())
    assert _loads_own_output(func), "the unscheduled form accumulates in memory"
    assert not _loads_own_output(cases.rearranged(func))


@pytest.mark.parametrize("name", _MODULES)
def test_there_is_no_workspace(name: str) -> None:
    func = _one(_MODULES[name]())
    assert _lowered(cases.rearranged(func)).workspaces == 0
    if name != "dense":
        assert _lowered(func).workspaces > 0, "the unscheduled form copies what it pads"


@pytest.mark.parametrize("name", _MODULES)
def test_accumulators_fit_the_registers(name: str) -> None:
    from tvm.tirx import AllocBuffer

    func = cases.rearranged(_one(_MODULES[name]()))
    sizes = [int(node.buffer.ty.shape[0].value) for node in _nodes(func, AllocBuffer)]
    assert sizes
    assert max(sizes) <= _REGISTERS


def test_inner_loops_of_a_convolution_load_less_than_they_multiply() -> None:
    """A tile reuses each operand: fewer distinct loads than multiply-adds, by far."""
    from tvm.ir import TensorLoad
    from tvm.tirx import BufferStore, For

    func = _lowered(cases.rearranged(_one(_padded_convolution()))).func
    best = 0.0
    for loop in _nodes(func, For):
        if _nodes_of(loop.body, For):
            continue
        updates = [s for s in _nodes_of(loop.body, BufferStore) if _is_update(s)]
        loads = {
            str(load)
            for load in _nodes_of(loop.body, TensorLoad)
            if str(load.source.ty.storage_scope) != "local"
        }
        if updates:
            best = max(best, len(updates) / len(loads))
    assert best >= 2.0


def _nodes_of(stmt: Any, kind: Any) -> list[Any]:
    import tvm_ffi

    found: list[Any] = []
    tvm_ffi.structural_walk(stmt, (kind, found.append))
    return found


def _is_update(store: Any) -> bool:
    from tvm.ir import TensorLoad

    return any(load.source.same_as(store.buffer) for load in _nodes_of(store.value, TensorLoad))


def test_a_function_that_is_not_understood_is_left_alone() -> None:
    from tvm import relax

    mod = cases.module(lambda x: relax.op.argmax(x, axis=1), (3, 8))
    func = _one(mod)
    nests = [line for line in func.script().splitlines() if "for " in line]
    assert nests
    assert [
        line for line in cases.rearranged(func).script().splitlines() if "for " in line
    ] == nests


def test_an_exception_leaves_the_function_alone(monkeypatch: Any) -> None:
    from workers.compilers.tvm.schedule import functions
    from workers.compilers.tvm.schedule.machine import machine_for

    def fail(*_: Any) -> None:
        raise ValueError("no tiling")

    monkeypatch.setattr(functions, "best_tiling", fail)
    func = _one(_dense())
    assert functions.rearrange(func, machine_for(cases.CORTEX_M4)) is func
