"""The simulated machines a board profile may name, and the cores whose code each one runs."""

from __future__ import annotations

from tinymlaas.contract.device import Core

HOST = "host"

# ARMv6-M, the instruction set of the M0 and the M0+, is the same for both and a part of the M3's.
MACHINES: dict[str, frozenset[Core]] = {
    HOST: frozenset({Core.HOST}),
    "microbit": frozenset({Core.CORTEX_M0, Core.CORTEX_M0PLUS}),
    "mps2-an385": frozenset({Core.CORTEX_M3, Core.CORTEX_M0, Core.CORTEX_M0PLUS}),
    "mps2-an386": frozenset({Core.CORTEX_M4}),
    "mps2-an500": frozenset({Core.CORTEX_M7}),
    "mps2-an505": frozenset({Core.CORTEX_M33}),
    "mps3-an547": frozenset({Core.CORTEX_M55}),
    "simavr-atmega1280": frozenset({Core.AVR}),
    "simavr-atmega1284p": frozenset({Core.AVR}),
    "simavr-atmega2560": frozenset({Core.AVR}),
    "simavr-atmega328p": frozenset({Core.AVR}),
    "simavr-atmega32u4": frozenset({Core.AVR}),
    "virt": frozenset({Core.RV32IMAC, Core.RV32IMC}),
}


def machines_of(core: Core) -> tuple[str, ...]:
    """Return the names of the machines that run code for `core`."""
    return tuple(name for name, cores in MACHINES.items() if core in cores)
