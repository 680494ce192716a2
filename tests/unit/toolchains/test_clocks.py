import pytest

from tinymlaas.contract.device import CapabilityClass, Core
from workers.verify.machines import machines_for

CORES = [core for core in Core if core not in (Core.AVR, Core.MSP430, Core.HOST)]
CLOCKS = {m.name: m.clock for core in CORES for m in machines_for(CapabilityClass(core=core))}


@pytest.mark.parametrize("name", CLOCKS)
@pytest.mark.parametrize("phase", [0, 1, 17, 31, 61, 255, 12345])
@pytest.mark.parametrize("count", [0, 1, 2, 1000, 999_999, 3_000_000_007, 123_456_789_012])
def test_counters_give_back_the_instructions_whatever_their_phase(name, phase, count):
    """Model the counters as integer divisions of virtual time, sampled at any phase."""
    clock = CLOCKS[name]
    start, end = phase, phase + (count << clock.shift)

    def ticks(hertz):
        return (end * hertz // 10**9) - (start * hertz // 10**9)

    fine = ticks(clock.hertz)
    if clock.divider is None:
        assert clock.instructions(fine % 2**32, fine // 2**32) == count
        return
    for jitter in (0, 1):  # the coarse counter's own phase
        coarse = fine // clock.divider + jitter
        assert clock.instructions(fine % 2**32, coarse % 2**32) == count


def test_a_tick_is_short_enough_to_round_exactly():
    for name, clock in CLOCKS.items():
        ticks_per_instruction = (clock.hertz << clock.shift) / 1e9
        exact = name == "virt"  # counts the instructions themselves
        assert exact or ticks_per_instruction > 2, name


def test_nearest_machines():
    nearest = {core: machines_for(CapabilityClass(core=core))[0] for core in CORES}
    assert {core.value: machine.name for core, machine in nearest.items()} == {
        "cortex-m0": "microbit",
        "cortex-m0plus": "microbit",
        "cortex-m3": "mps2-an385",
        "cortex-m4": "mps2-an386",
        "cortex-m7": "mps2-an500",
        "cortex-m33": "mps2-an505",
        "cortex-m55": "mps3-an547",
        "rv32imac": "virt",
        "rv32imc": "virt",
    }
    assert machines_for(CapabilityClass(core=Core.HOST)) == ()
    assert machines_for(CapabilityClass(core=Core.MSP430, cpu="msp430f5529")) == ()
