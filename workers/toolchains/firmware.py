"""Firmware around a module: compile its parts (once per core), and link it.

The parts are sources of our own, compiled in jobs that see nothing else. Linking happens in the
job that needs the image: what stands below `link_image` runs inside the sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.errors import CompilerCrashed, ToolchainError
from workers import sandbox
from workers.sandbox import Step, files
from workers.sandbox.files import Files
from workers.toolchains import objects, process
from workers.toolchains.compiling import compile_source, first_error
from workers.toolchains.toolchain import toolchain_for

FIRMWARE_DIR = Path(__file__).parent / "firmware"
FIRMWARE = "firmware.elf"
_LIBRARY = "lib/lib{name}.a"
ARENA_SYMBOL = "tinymlaas_arena"
_LINK_TIMEOUT = 300.0
_UNDEFINED = re.compile(r"undefined reference to [`']([^']+)'")
_OVERFLOW = (
    "overflowed by",
    "will not fit in region",
    "is not within region",
    "relocation truncated to fit",
)

_TABLE = """\
#include "{name}.h"
#include "module_table.h"
#define ARENA_BYTES ({upper}_ARENA_BYTES ? {upper}_ARENA_BYTES : 1u)
uint8_t tinymlaas_arena[ARENA_BYTES]
    __attribute__((section(".bss.tinymlaas_arena"), aligned({upper}_ARENA_ALIGN)));
const struct module_table tinymlaas_module = {{
    tinymlaas_arena, {upper}_ARENA_BYTES, {name}_init, {name}_input, {name}_invoke, {name}_output,
}};
"""


class LinkOverflow(ToolchainError):
    """The image does not fit the memory map of its linker script."""


class ModuleFiles(Protocol):
    """A module as the linker needs it: ``lib<name>.a`` and its header."""

    @property
    def library(self) -> bytes:
        """The static library."""

    @property
    def header(self) -> bytes:
        """The header with the module's ABI."""


@dataclass(frozen=True)
class Linkable:
    """What goes into an image: the module `name`, built or taken out of an archive, for `target`,
    and the objects of the firmware around it, by name.
    """

    name: str
    target: CapabilityClass
    library: bytes
    header: bytes
    parts: Files


def startup_sources(core: Core) -> tuple[Path, ...]:
    """Return the start-up files of `core`; none where the C library brings its own."""
    if core in (Core.AVR, Core.HOST):
        return ()
    if core in (Core.RV32IMAC, Core.RV32IMC):
        return (FIRMWARE_DIR / "start_riscv.S", FIRMWARE_DIR / "start_riscv.c")
    return (FIRMWARE_DIR / "start_cortex_m.c",)


def firmware_parts(
    sources: Sequence[Path],
    target: CapabilityClass,
    *,
    defines: Sequence[str] = (),
    cache: Path | None = None,
) -> Files:
    """Return the objects of our firmware's `sources` for `target`; those in `cache` are reused.

    The cache key covers the toolchain, the flags, the source and all headers beside it.

    Raises:
        ToolchainError: the toolchain is missing or failed, or an object cannot be kept.
    """
    toolchain = toolchain_for(target.core)
    flags = (*toolchain.cflags(target), *(f"-D{define}" for define in defines))
    words = (toolchain.version(), *flags)
    keys = {path: objects.key_of((*words, path.name), _read_by(path)) for path in sources}
    found = {path: objects.kept(cache, key) for path, key in keys.items()}
    missing = [path for path, made in found.items() if made is None]
    if missing:
        made: list[bytes] = sandbox.call(
            "workers.toolchains.firmware:compile_parts",
            target.core,
            [str(path) for path in missing],
            flags,
            returns=list[bytes],
            step=Step.COMPILE,
            what="compiling the firmware's parts",
        )
        for path, content in zip(missing, made, strict=True):
            objects.keep(cache, keys[path], content)
            found[path] = content
    return {f"{path.name}.o": content for path, content in found.items() if content is not None}


def _read_by(source: Path) -> Files:
    """Return `source` and all headers that it may include."""
    paths = (source, *source.parent.glob("*.h"), *FIRMWARE_DIR.glob("*.h"))
    return {path.name: path.read_bytes() for path in paths}


def compile_parts(core: Core, sources: Sequence[str], flags: tuple[str, ...]) -> list[bytes]:
    """Return the objects of our own `sources`; runs inside."""
    return [_compile_part(core, Path(source), flags) for source in sources]


def _compile_part(core: Core, source: Path, flags: tuple[str, ...]) -> bytes:
    made = Path(f"{source.name}.o")
    # Firmware needs assembly statements, which are GNU C.
    language = ("-std=gnu11",) if source.suffix == ".c" else ()
    local = (*flags, f"-I{FIRMWARE_DIR}")
    compile_source(toolchain_for(core), local, str(source), made.name, Path(), language=language)
    return made.read_bytes()


def table_source(name: str) -> str:
    """Return the C of the table that names a module's functions and reserves its arena."""
    return _TABLE.format(name=name, upper=name.upper())


def lay_out(module: Linkable, folder: Path) -> list[str]:
    """Write the module and the objects around it into the empty `folder`; return these' paths.

    To the parts comes a table that names the module's functions and reserves its arena.
    """
    parts = {f"parts/{name}": made for name, made in module.parts.items()}
    source, made = "module_table.c", "module_table.o"
    written = {
        _LIBRARY.format(name=module.name): module.library,
        f"include/{module.name}.h": module.header,
        source: table_source(module.name).encode(),
    }
    files.write(folder, written | parts)
    toolchain = toolchain_for(module.target.core)
    flags = (*toolchain.cflags(module.target), f"-I{FIRMWARE_DIR}", "-Iinclude")
    compile_source(toolchain, flags, source, made, folder)
    return [*parts, made]


def link_image(
    module: Linkable,
    around: Sequence[str],
    folder: Path,
    *,
    script: str | None,
    extra: Sequence[str] = (),
) -> Path:
    """Link the objects `around` with the module laid out in `folder`; return the executable.

    Its map lies beside it (``.map``).

    Raises:
        LinkOverflow: the image does not fit the script's regions.
        CompilerCrashed: the module needs symbols no library has.
        ToolchainError: the linker failed in another way.
    """
    target = module.target
    toolchain = toolchain_for(target.core)
    image = folder / FIRMWARE
    command = [toolchain.tool("gcc"), *toolchain.cflags(target), "-Wl,--gc-sections"]
    if script is not None:
        path = folder / "firmware.ld"
        path.write_text(script, encoding="utf-8")
        command += ["-nostartfiles", "-T", path.name, "-Wl,--no-warn-rwx-segments"]
    elif target.core is Core.HOST:
        command += ["-pie", "-Wl,-z,now"]  # no lazy binding: it would use the measured stack
    command += [*extra, "-Wl,-Map=firmware.map", "-o", image.name, *around]
    command += [_LIBRARY.format(name=module.name), "-lm"]
    done = process.run(command, folder, _LINK_TIMEOUT)
    if done.returncode == 0:
        return image
    if any(sign in done.stderr for sign in _OVERFLOW):
        raise LinkOverflow(first_error(done.stderr))
    missing = sorted(set(_UNDEFINED.findall(done.stderr)))
    if missing:
        raise CompilerCrashed(
            f"the module needs {', '.join(missing[:5])}, which no library for {target.core.value} "
            "has (a module has no heap and makes no system call)"
        )
    raise ToolchainError(
        f"{toolchain.prefix}gcc cannot link the module: {first_error(done.stderr)}"
    )
