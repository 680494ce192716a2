import os
from pathlib import Path

import numpy as np
import pytest

from tests.unit.toolchains.handmade import (
    DENSE,
    HOST,
    INTEGER,
    LOOP,
    M4F,
    MSP430,
    NAME,
    STACK,
    TARGETS,
    Handmade,
    body,
    compiled,
    tensor,
)
from tinymlaas.contract.device import Core
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.tensors import DType
from workers.verify.machines import CannotSimulate
from workers.verify.run import RunFailed, run_module

MACHINES = {
    "m0": "microbit",
    "m0plus": "microbit",
    "m3": "mps2-an385",
    "m4": "mps2-an386",
    "m4f": "mps2-an386",
    "m4f-softfp": "mps2-an386",
    "m7": "mps2-an500",
    "m7d": "mps2-an500",
    "m33": "mps2-an505",
    "m33f": "mps2-an505",
    "m55": "mps3-an547",
    "m55i": "mps3-an547",
    "m55f": "mps3-an547",
    "rv32imac": "virt",
    "rv32imc": "virt",
    "avr5": "simavr-atmega328p",
    "avr51": "simavr-atmega1280",
    "avr6": "simavr-atmega2560",
    "host": "host",
}
COUNTING = [core for core in TARGETS if not core.startswith("avr") and core != "host"]
# Built with other flags, run on the machine of another: integers are tried on them every day.
_ALIKE = {"m4", "m4f-softfp", "m7", "m33", "m55", "m55i", "rv32imc", "avr51"}


def _with_alike_slow(cores):
    return [
        pytest.param(core, marks=pytest.mark.slow) if core in _ALIKE else core for core in cores
    ]


def number(value):
    return [np.array([value], np.int32)]


@pytest.fixture
def run(tmp_path, cache):
    def run(module, target, samples, **more):
        library = module.build(target)
        return run_module(library, NAME, target, module.compiled, samples, cache=cache, **more)

    return run


def integer_samples():
    generator = np.random.default_rng(3)
    return [
        [
            generator.integers(-128, 128, (4, 4), np.int8),
            generator.integers(-5000, 5000, 4, np.int32),
        ]
        for _ in range(7)
    ]


def integer_reference(x, bias):
    """The same arithmetic as the C of `INTEGER`, by NumPy."""
    table = np.zeros(32, np.int64)
    table[:16] = (3, -7, 11, 127, -128, 5, 0, 1, 2, -3, 9, 44, -90, 17, 6, -1)
    index = np.arange(16)
    sums = [bias[i % 4] + int((x.ravel() * table[(i + index) % 32]).sum()) for i in range(16)]
    scaled = [(total * 1518500250 + (1 << 30)) >> 37 for total in sums]
    return np.clip(scaled, -128, 127).astype(np.int8), sum(total * total for total in sums)


@pytest.mark.parametrize("core", TARGETS)
def test_integers_are_bit_equal_on_every_core(core, run):
    samples = integer_samples()
    result = run(INTEGER, TARGETS[core], samples)
    assert result.machine == MACHINES[core]
    assert result.level is (Level.MEASURED if core == "host" else Level.SIMULATED)
    assert len(result.outputs) == len(samples)
    for (x, bias), (y, total) in zip(samples, result.outputs, strict=True):
        expected, square = integer_reference(x.astype(np.int64), [int(b) for b in bias])
        assert np.array_equal(y, expected)
        assert (total.shape, int(total)) == ((), square)
    assert result.stack_bytes is not None
    assert 0 <= result.stack_bytes < 600


@pytest.mark.parametrize("core", _with_alike_slow(TARGETS))
def test_floats_are_right_on_every_core(core, run):
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 16)
    weights = np.zeros((10, 16), np.float32)
    weights[0, :3], weights[1, 2:4], weights[2, 0] = (1.5, -2.0, 0.25), (3.0, 1e-3), 7
    result = run(DENSE, TARGETS[core], [[x], [2 * x]])
    for factor, (y,) in zip((1, 2), result.outputs, strict=True):
        assert np.abs(y - np.tanh(factor * x @ weights.T)).max() < 2e-7


@pytest.mark.parametrize("core", _with_alike_slow(COUNTING))
def test_instructions_are_exact(core, run):
    """The same in every run, and to one instruction the same for every further loop turn."""
    turns = [5, 6, 7, 1000, 100_000]
    first = run(LOOP, TARGETS[core], [number(n) for n in turns])
    counts = dict(zip(turns, first.instructions_by_sample, strict=True))
    a_turn = counts[6] - counts[5]
    assert a_turn in {2, 3, 4, 5, 6, 7}
    for n in turns:
        assert counts[n] == counts[5] + (n - 5) * a_turn
    assert first.instructions == counts[100_000]
    again = run(LOOP, TARGETS[core], [number(n) for n in turns])
    assert again.instructions_by_sample == first.instructions_by_sample


def test_counters_wrap_without_harm(run):
    """600 million instructions: the fine counter, of 32 bits, wraps after 671 million."""
    result = run(LOOP, M4F, [number(1000), number(180_000_000)])
    small, large = result.instructions_by_sample
    assert large - small == (180_000_000 - 1000) * 4


@pytest.mark.parametrize("core", ["avr6", "host"])
def test_instructions_that_cannot_be_counted_are_not_made_up(core, run):
    result = run(LOOP, TARGETS[core], [number(10)])
    assert result.instructions is None
    assert result.instructions_by_sample == ()


@pytest.mark.parametrize("core", ["m0", "m4f", "m33f", "m55f", "rv32imac", "avr6", "host"])
def test_the_watermark_follows_the_stack(core, run):
    small = run(STACK, TARGETS[core], [number(64)]).stack_bytes
    large = run(STACK, TARGETS[core], [number(64), number(1064), number(64)]).stack_bytes
    assert 64 <= small < 64 + 120
    assert 984 <= large - small <= 1016


@pytest.mark.parametrize("core", ["m4f", "rv32imac", "avr6"])
def test_a_stack_that_is_too_deep_is_an_error(core, run):
    depth = 70_000 if core != "avr6" else 7900
    with pytest.raises(RunFailed):
        run(STACK, TARGETS[core], [number(depth)], timeout=20)


def test_the_arena_is_not_zeroed_for_the_module(run):
    result = run(body("y[0] = x[1];"), M4F, [number(1)])
    assert int(result.outputs[0][0][0]) == np.int32(-1515870811)  # 0xA5A5A5A5


def test_a_module_too_big_for_the_microbit_runs_on_its_bigger_sister(run):
    assert run(body("y[0] = x[0];", arena=40_000), TARGETS["m0"], [number(1)]).machine == (
        "mps2-an385"
    )


def test_big_weights_and_arenas_have_room_on_every_machine(run):
    weights = "static const uint8_t w[1500000] = {1, 2, [1499999] = 77};"
    module = body("y[0] = w[x[0]]; arena[599999] = 1;", weights, arena=600_000)
    for core in ("m3", "m4f", "m7d", "m33f", "m55f", "rv32imac", "m0"):
        result = run(module, TARGETS[core], [number(1_499_999)])
        assert int(result.outputs[0][0][0]) == 77
        assert result.machine == ("mps2-an385" if core == "m0" else MACHINES[core])


def test_a_module_too_big_for_all_machines_says_so(run):
    with pytest.raises(CannotSimulate, match="too large for mps2-an386"):
        run(body("y[0] = 1;", arena=20_000_000), M4F, [number(1)])
    with pytest.raises(CannotSimulate, match="too large for atmega2560"):
        run(body("y[0] = 1;", arena=7900), TARGETS["avr6"], [number(1)])


def test_many_samples_in_one_run(run):
    samples = [number(n) for n in range(500)]
    result = run(body("y[0] = x[0] * x[0];"), M4F, samples)
    assert [int(y[0]) for (y,) in result.outputs] == [n * n for n in range(500)]


def test_inputs_are_written_before_each_run(run):
    """A module may overwrite its inputs."""
    result = run(body("y[0] = x[0]; memset(arena, 0, 4);"), M4F, [number(3), number(4)])
    assert [int(y[0]) for (y,) in result.outputs] == [3, 4]


FAULTS = {
    "null call": ("((void (*)(void))(uintptr_t)x[0])();", ""),
    "wild write": ("*(volatile int *)(uintptr_t)(0xE0000000u + 0x200000u * x[0]) = 1;", ""),
    "undefined instruction": ("__builtin_trap();", ""),
}


@pytest.mark.parametrize("core", ["m0", "m3", "m4f", "m33f", "m55f", "m7", "rv32imac"])
def test_a_jump_to_nowhere_is_reported(core, run, own_tmp):
    with pytest.raises(RunFailed, match=f"failed on {MACHINES[core]}: (HardFault|trap)"):
        run(body(FAULTS["null call"][0]), TARGETS[core], [number(0)], timeout=20)
    assert list(own_tmp.iterdir()) == []


@pytest.mark.parametrize("core", ["m0", "m4f", "rv32imac"])
def test_a_fault_names_its_function(core, run):
    with pytest.raises(RunFailed, match=r"\(in hand_entry\)"):
        run(body(FAULTS["undefined instruction"][0]), TARGETS[core], [number(0)], timeout=20)


def test_a_fault_of_an_avr_is_reported(run, own_tmp):
    with pytest.raises(RunFailed, match="failed on simavr-atmega2560: the firmware started twice"):
        run(body(FAULTS["null call"][0]), TARGETS["avr6"], [number(0)], timeout=20)
    assert list(own_tmp.iterdir()) == []


def test_a_crash_of_an_avr_is_reported(run, own_tmp):
    beyond = body("((void (*)(void))(uintptr_t)(0xF000 + x[0]))();")
    with pytest.raises(RunFailed, match="crashed on simavr-atmega328p: a jump out of the program"):
        run(beyond, TARGETS["avr5"], [number(0)], timeout=20)
    assert list(own_tmp.iterdir()) == []


def test_samples_that_do_not_fit_an_avrs_flash_are_run_in_turns(run):
    """60 samples of 1 kB each; the flash has 32 kB."""
    small = body("y[0] = x[0] - x[255];")
    wide = compiled(
        (tensor("x", (256,), DType.INT32, 0),), (tensor("y", (1,), DType.INT32, 1024),), 1028
    )
    module = Handmade(small.source.replace("arena + 16", "arena + 1024"), wide)
    samples = [[np.arange(256, dtype=np.int32) * n] for n in range(60)]
    result = run(module, TARGETS["avr5"], samples)
    assert result.machine == "simavr-atmega328p"
    assert [int(y[0]) for (y,) in result.outputs] == [-255 * n for n in range(60)]


def test_a_crash_on_the_host_is_reported(run, own_tmp):
    with pytest.raises(RunFailed, match="crashed on host: SIGSEGV"):
        run(body(FAULTS["null call"][0]), HOST, [number(0)])
    assert list(own_tmp.iterdir()) == []


def _running_below(folder):
    """Return the processes whose working directory is below `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd").startswith(str(folder)):
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("core", ["m4f", "rv32imac", "avr6", "host"])
def test_an_endless_loop_is_ended_and_leaves_nothing(core, run, own_tmp):
    endless = body('for (;;) { __asm volatile(""); }')
    with pytest.raises(RunFailed, match=f"did not end on {MACHINES[core]} within 2 s"):
        run(endless, TARGETS[core], [number(0)], timeout=2)
    assert list(own_tmp.iterdir()) == []
    assert _running_below(own_tmp) == []


@pytest.mark.parametrize("core", ["m4f", "avr6", "host"])
def test_an_error_of_the_module_is_reported(core, run):
    with pytest.raises(RunFailed, match=r"invoke returned 0x0*7"):
        run(body("return 7;"), TARGETS[core], [number(0)])


def test_a_failing_init_is_reported(run):
    module = body("", "int32_t hand_setup(uint8_t *arena) { return -5; }", init="hand_setup")
    with pytest.raises(RunFailed, match="init returned 0xfffffffb"):
        run(module, M4F, [number(0)])


def test_a_boundary_that_is_not_the_modules_is_reported(tmp_path, cache):
    library = INTEGER.build(M4F)
    fewer = INTEGER.compiled.model_copy(update={"inputs": INTEGER.compiled.inputs[:1]})
    with pytest.raises(RunFailed, match="more inputs or outputs than its manifest"):
        run_module(library, NAME, M4F, fewer, [[np.zeros((4, 4), np.int8)]], cache=cache)


def test_wrong_samples_are_refused_before_anything_runs(run):
    with pytest.raises(ValueError, match="x is int32"):
        run(body(""), M4F, [[np.zeros(1, np.float32)]])


def test_msp430_says_why_it_does_not_run():
    with pytest.raises(CannotSimulate, match="cannot be linked"):
        run_module(DENSE.build(M4F), NAME, MSP430, DENSE.compiled, [])


def test_an_avr_without_a_machine_says_so(run):
    xmega = TARGETS["avr6"].model_copy(update={"cpu": "atxmega128a1"})
    assert xmega.core is Core.AVR
    with pytest.raises(CannotSimulate, match="no simulated machine runs code for atxmega128a1"):
        run(body(""), xmega, [number(0)])
