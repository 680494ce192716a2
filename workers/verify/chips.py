"""The AVR chips of simavr: the board's own where simavr has it, else a larger one that runs the
same code.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from tinymlaas.contract.device import Core
from workers import sandbox
from workers.sandbox import Step
from workers.toolchains import process
from workers.toolchains.toolchain import toolchain_for

SIMAVR = "simavr"
_HARNESS_DIR = Path(__file__).parent / "harness"
_PROBE_TIMEOUT = 30.0
# Of gcc's architectures each is a superset of those before, but avr6 has longer return addresses.
_SISTERS = {
    **dict.fromkeys(("2", "25", "3", "31", "35", "4", "5", "51"), "atmega1280"),
    "6": "atmega2560",
}
_FACTS = re.compile(r"^\s*facts (\d+) (\d+) (\d+) (\d+) ([01])$", re.MULTILINE)


@dataclass(frozen=True)
class Chip:
    """One chip: gcc's and simavr's name for it, gcc's architecture, bytes of flash and RAM, and
    whether it has the register the harness prints to.
    """

    cpu: str
    architecture: str
    flash: int
    ram: int
    prints: bool

    @property
    def name(self) -> str:
        """The name of the simulated machine."""
        return f"{SIMAVR}-{self.cpu}"


def simulator() -> str:
    """Return the path of simavr.

    Raises:
        ToolchainError: it is not installed.
    """
    return process.require(SIMAVR, SIMAVR)


@functools.cache
def chips_for(cpu: str) -> tuple[Chip, ...]:
    """Return the chips that run code for `cpu`, that itself first if simavr has it.

    Raises:
        ToolchainError: simavr or avr-gcc is not installed.
    """
    found: tuple[Chip, ...] = sandbox.call(
        "workers.verify.chips:find",
        cpu,
        returns=tuple[Chip, ...],
        step=Step.LINK,
        what=f"looking for a simulated {cpu}",
    )
    return found


def find(cpu: str) -> tuple[Chip, ...]:
    """Return what `chips_for` does; called inside, as it asks gcc."""
    own = _chip(cpu)
    if own is None:
        return ()
    listed = process.run([simulator(), "--list-cores"], Path(), _PROBE_TIMEOUT).stdout.split()
    names = dict.fromkeys((cpu, _SISTERS.get(own.architecture, "")))
    found = (_chip(name) for name in names if name in listed)
    return tuple(chip for chip in found if chip is not None and chip.prints)


def _chip(cpu: str) -> Chip | None:
    """Return what avr-libc's header says of `cpu`; None if gcc has no such chip."""
    gcc = toolchain_for(Core.AVR).tool("gcc")
    command = [gcc, f"-mmcu={cpu}", "-S", "-o", "-", "avr_facts.c"]
    said = process.run(command, _HARNESS_DIR, _PROBE_TIMEOUT)
    facts = _FACTS.search(said.stdout)
    if facts is None:
        return None
    architecture = facts.group(1)
    flash_end, ram_start, ram_end = (int(number) for number in facts.groups()[1:4])
    prints = facts.group(5) == "1"
    return Chip(cpu, architecture, flash_end + 1, ram_end + 1 - ram_start, prints)
