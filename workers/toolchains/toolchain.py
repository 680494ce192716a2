"""The explicit table from a core to the cross gcc that serves it."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.errors import ToolchainError
from workers.toolchains import cflags, process

_PROBE_TIMEOUT = 30.0


@dataclass(frozen=True)
class Toolchain:
    """A gcc with its C library.

    `prefix` stands before every tool's name, `packages` are the Debian packages that hold them,
    `probe` is a file of the C library that gcc must be able to name, `specs` are flags that choose
    that library, `elf_machine` is the ELF header's machine name of its objects, `compiler` the
    tool whose version is the toolchain's.
    """

    prefix: str
    packages: str
    probe: str
    elf_machine: tuple[str, ...]
    specs: tuple[str, ...] = ()
    compiler: str = "gcc"

    def tool(self, name: str) -> str:
        """Return the path of a tool (``gcc``, ``ar``).

        Raises:
            ToolchainError: it is not installed; the reason names the Debian packages.
        """
        return process.require(self.prefix + name, self.packages)

    def version(self) -> str:
        """Return the compiler's version line.

        Raises:
            ToolchainError: the compiler or its C library is not installed.
        """
        return _version(self, self.tool(self.compiler))

    def cflags(self, target: CapabilityClass) -> tuple[str, ...]:
        """Return the flags every translation unit for `target` is compiled with."""
        return (*self.specs, *cflags.machine_flags(target), *cflags.BASE)


_ARM = Toolchain(
    prefix="arm-none-eabi-",
    packages="gcc-arm-none-eabi libnewlib-arm-none-eabi",
    probe="libc.a",
    elf_machine=("EM_ARM",),
)
_RISCV = Toolchain(
    prefix="riscv64-unknown-elf-",
    packages="gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    probe="picolibc.specs",
    elf_machine=("EM_RISCV",),
    specs=("--specs=picolibc.specs",),
)
_AVR = Toolchain("avr-", "gcc-avr avr-libc binutils-avr", "libm.a", ("EM_AVR",))
_HOST = Toolchain("", "gcc libc6-dev binutils", "libc.so", ("EM_X86_64", "EM_AARCH64"))

# No gcc for MSP430 is packaged: a compiler's objects can be put into a library, and no more.
_ARCHIVER = Toolchain("", "binutils", "", ("EM_MSP430",), compiler="ar")

_TOOLCHAINS: dict[Core, Toolchain] = {
    Core.CORTEX_M0: _ARM,
    Core.CORTEX_M0PLUS: _ARM,
    Core.CORTEX_M3: _ARM,
    Core.CORTEX_M4: _ARM,
    Core.CORTEX_M7: _ARM,
    Core.CORTEX_M33: _ARM,
    Core.CORTEX_M55: _ARM,
    Core.RV32IMAC: _RISCV,
    Core.RV32IMC: _RISCV,
    Core.AVR: _AVR,
    Core.HOST: _HOST,
}


def cannot_link(core: Core) -> str | None:
    """Return why modules for `core` cannot be linked here, or None if they can."""
    if core in _TOOLCHAINS:
        return None
    return (
        f"modules for {core.value} cannot be linked: there is no {core.value} gcc to link with, "
        "a library of objects is all that can be made"
    )


def toolchain_for(core: Core) -> Toolchain:
    """Return the toolchain for `core`.

    Raises:
        ToolchainError: no toolchain is known (MSP430).
    """
    reason = cannot_link(core)
    if reason is not None:
        raise ToolchainError(reason)
    return _TOOLCHAINS[core]


def archiver_for(core: Core) -> Toolchain:
    """Return the toolchain that can at least put objects for `core` into a library."""
    return _TOOLCHAINS.get(core, _ARCHIVER)


@functools.cache
def _version(toolchain: Toolchain, gcc: str) -> str:
    here = Path(os.sep)
    if toolchain.probe:
        _find_libc(toolchain, gcc, here)
    said = process.run([gcc, "--version"], here, _PROBE_TIMEOUT)
    if said.returncode != 0 or not said.stdout:
        raise ToolchainError(f"{Path(gcc).name} --version failed: {said.stderr}")
    return said.stdout.splitlines()[0].strip()


def _find_libc(toolchain: Toolchain, gcc: str, here: Path) -> None:
    found = process.run([gcc, f"-print-file-name={toolchain.probe}"], here, _PROBE_TIMEOUT)
    if found.returncode != 0 or not os.path.isabs(found.stdout.strip()):
        raise ToolchainError(
            f"{Path(gcc).name} has no C library: apt-get install {toolchain.packages}"
        )
