"""Firmware around a module: compile its parts (once per core), and link it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage import files
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.errors import CompilerCrashed, ToolchainError
from workers.toolchains import process
from workers.toolchains.library import compile_source, first_error
from workers.toolchains.toolchain import Toolchain, toolchain_for

FIRMWARE_DIR = Path(__file__).parent / "firmware"
FIRMWARE = "firmware.elf"
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
    def path(self) -> Path:
        """The static library."""

    @property
    def header(self) -> Path:
        """The header with the module's ABI."""


@dataclass(frozen=True)
class Prebuilt:
    """A module whose files were not built here, but taken out of an archive."""

    path: Path
    header: Path


def startup_sources(core: Core) -> tuple[Path, ...]:
    """Return the start-up files of `core`; none where the C library brings its own."""
    if core in (Core.AVR, Core.HOST):
        return ()
    if core in (Core.RV32IMAC, Core.RV32IMC):
        return (FIRMWARE_DIR / "start_riscv.S", FIRMWARE_DIR / "start_riscv.c")
    return (FIRMWARE_DIR / "start_cortex_m.c",)


def compile_parts(
    sources: Sequence[Path],
    target: CapabilityClass,
    work_dir: Path,
    *,
    defines: Sequence[str] = (),
    cache: Path | None = None,
) -> list[Path]:
    """Compile firmware sources for `target`; objects in `cache` are used again.

    The cache key covers the toolchain, the flags, the source and all headers beside it.
    """
    toolchain = toolchain_for(target.core)
    flags = [*toolchain.cflags(target), *(f"-D{define}" for define in defines)]
    return [_compile_part(toolchain, flags, source, work_dir, cache) for source in sources]


def _compile_part(
    toolchain: Toolchain, flags: list[str], source: Path, work_dir: Path, cache: Path | None
) -> Path:
    digest = hashlib.sha256("\0".join((toolchain.version(), *flags, source.name)).encode())
    for file in (source, *sorted(source.parent.glob("*.h")), *sorted(FIRMWARE_DIR.glob("*.h"))):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    kept = cache / f"{digest.hexdigest()}.o" if cache is not None else None
    if kept is not None and kept.exists():
        return kept
    made = work_dir / f"{source.name}.o"
    # Firmware needs assembly statements, which are GNU C.
    language = ("-std=gnu11",) if source.suffix == ".c" else ()
    local = [*flags, f"-I{FIRMWARE_DIR}"]
    compile_source(toolchain, local, str(source), str(made), work_dir, language=language)
    if kept is None:
        return made
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        files.replace(kept, made.read_bytes(), kept.parent)
    except OSError as error:
        reason = error.strerror or error
        raise ToolchainError(f"cannot keep objects in {kept.parent}: {reason}") from None
    return kept


def table_source(name: str) -> str:
    """Return the C of the table that names a module's functions and reserves its arena."""
    return _TABLE.format(name=name, upper=name.upper())


def compile_table(module: ModuleFiles, name: str, target: CapabilityClass, work_dir: Path) -> Path:
    """Compile the table that names the module's functions and reserves its arena."""
    source = work_dir / "module_table.c"
    source.write_text(table_source(name), encoding="utf-8")
    made = work_dir / "module_table.o"
    toolchain = toolchain_for(target.core)
    flags = [*toolchain.cflags(target), f"-I{FIRMWARE_DIR}", f"-I{module.header.parent.resolve()}"]
    compile_source(toolchain, flags, source.name, made.name, work_dir)
    return made


def link_image(
    objects: Sequence[Path],
    module: ModuleFiles,
    target: CapabilityClass,
    work_dir: Path,
    *,
    script: str | None,
    extra: Sequence[str] = (),
) -> Path:
    """Link firmware with the module; return the executable, its map beside it (``.map``).

    Raises:
        LinkOverflow: the image does not fit the script's regions.
        CompilerCrashed: the module needs symbols no library has.
        ToolchainError: the linker failed in another way.
    """
    toolchain = toolchain_for(target.core)
    image = work_dir / FIRMWARE
    command = [toolchain.tool("gcc"), *toolchain.cflags(target), "-Wl,--gc-sections"]
    if script is not None:
        path = work_dir / "firmware.ld"
        path.write_text(script, encoding="utf-8")
        command += ["-nostartfiles", "-T", path.name, "-Wl,--no-warn-rwx-segments"]
    elif target.core is Core.HOST:
        command += ["-pie", "-Wl,-z,now"]  # no lazy binding: it would use the measured stack
    command += [*extra, "-Wl,-Map=firmware.map", "-o", image.name]
    command += [str(path) for path in objects]
    command += [str(module.path.resolve()), "-lm"]
    done = process.run(command, work_dir, _LINK_TIMEOUT)
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
