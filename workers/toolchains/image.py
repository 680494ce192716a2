"""Reading what was linked: sections and symbols of an ELF file, and the linker's map."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tinymlaas.contract.errors import CompilerCrashed

# "Linker script and memory map" of a GNU ld map lists: section, address, size, file. A long
# section name stands on a line of its own.
_MAP_START = "Linker script and memory map"
_MAP_LINE = re.compile(
    r"^ (\.\S+)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) (\S.*)$", re.MULTILINE | re.IGNORECASE
)
_SHF_ALLOC, _SHF_EXECINSTR, _SHF_WRITE, _SHF_TLS = 0x2, 0x4, 0x1, 0x400  # gABI, sh_flags
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60


@dataclass(frozen=True)
class Section:
    """One section that takes memory at run time. `address` is where it runs, `load` where its
    initial contents lie (the same unless start-up code copies it); `size` in bytes.
    """

    name: str
    address: int
    load: int
    size: int
    writable: bool
    stored: bool
    executable: bool


@dataclass(frozen=True)
class ModuleShare:
    """The module's own part of an image, in bytes."""

    code: int
    weights: int


class DamagedObject(CompilerCrashed):
    """What should be an ELF file cannot be read as one."""


def _elf(file: BinaryIO) -> Any:
    """Read `file` with pyelftools, which is loaded only where there is something to read."""
    from elftools.elf.elffile import ELFFile

    return ELFFile(file)


def _unsound() -> tuple[type[Exception], ...]:
    """Return what pyelftools trips over in a damaged file: it checks little of what it follows."""
    from elftools.common.exceptions import ELFError

    return (ELFError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError)


def machine_of_object(path: Path) -> str | None:
    """Return the ELF header's machine (``EM_ARM``) of an object, or None if `path` is not ELF.

    Raises:
        DamagedObject: its header is well, its sections are not.
    """
    with path.open("rb") as file:
        try:
            elf = _elf(file)
            machine = str(elf["e_machine"])
        except _unsound():
            return None
        with _sound():
            list(_sections(elf))
        return machine


def sections(path: Path) -> tuple[Section, ...]:
    """Return every non-empty section of the executable `path` that takes memory."""
    with path.open("rb") as file:
        return tuple(_sections(_elf(file)))


def _sections(elf: Any) -> Iterator[Section]:
    segments = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
    for section in elf.iter_sections():
        flags = section["sh_flags"]
        # .tbss takes no memory where it stands: it is the template of a thread's zeros.
        takes_memory = flags & _SHF_ALLOC and section["sh_size"] > 0
        thread_zeros = flags & _SHF_TLS and section["sh_type"] == "SHT_NOBITS"
        if not takes_memory or thread_zeros:
            continue
        address = section["sh_addr"]
        shift = 0
        for segment in segments:
            if segment["p_vaddr"] <= address < segment["p_vaddr"] + max(segment["p_memsz"], 1):
                shift = segment["p_paddr"] - segment["p_vaddr"]
                break
        yield Section(
            name=section.name,
            address=address,
            load=address + shift,
            size=section["sh_size"],
            writable=bool(flags & _SHF_WRITE),
            stored=section["sh_type"] != "SHT_NOBITS",
            executable=bool(flags & _SHF_EXECINSTR),
        )


def object_sections(archive: bytes) -> tuple[Section, ...]:
    """Return the sections that will take memory of every object in a static library.

    Nothing is placed yet: all addresses are 0.

    Raises:
        DamagedObject: an object is no sound ELF file.
    """
    found: list[Section] = []
    with _sound():
        for member in _members(archive):
            found.extend(_sections(_elf(io.BytesIO(member))))
    return tuple(found)


@contextlib.contextmanager
def _sound() -> Iterator[None]:
    """Turn what pyelftools trips over into an error that can be told."""
    try:
        yield
    except _unsound() as error:
        said = str(error)[:100] or type(error).__name__
        raise DamagedObject(f"it is no sound ELF file: {said}") from None


def _members(archive: bytes) -> Iterator[bytes]:
    """Yield the files of a GNU ar archive: a 60-byte header each, its size at 48, padded to even.

    Names that start with a slash and no number are the symbol index and the table of long names.
    """
    at = len(_AR_MAGIC)
    while at + _AR_HEADER <= len(archive):
        name = archive[at : at + 16].rstrip()
        size = int(archive[at + 48 : at + 58])
        start = at + _AR_HEADER
        if name not in (b"/", b"//", b"/SYM64/"):
            yield archive[start : start + size]
        at = start + size + size % 2


def symbol_size(path: Path, name: str) -> int:
    """Return the size in bytes of the object `name` in the executable `path`, 0 if it has none."""
    with path.open("rb") as file:
        table = _elf(file).get_section_by_name(".symtab")
        found = table.get_symbol_by_name(name) if table is not None else None
        return int(found[0]["st_size"]) if found else 0


def function_at(path: Path, address: int) -> str | None:
    """Return the name of the function of the executable `path` that has code at `address`."""
    with path.open("rb") as file:
        table = _elf(file).get_section_by_name(".symtab")
        for symbol in table.iter_symbols() if table is not None else ():
            start = symbol["st_value"] & ~1  # the lowest bit says Thumb
            if symbol["st_info"]["type"] == "STT_FUNC" and 0 <= address - start < symbol["st_size"]:
                return str(symbol.name)
    return None


def module_share(linker_map: str, name: str) -> ModuleShare:
    """Return what ``lib<name>.a`` put into an image, according to GNU ld's map."""
    _, _, placed = linker_map.partition(_MAP_START)
    code = weights = 0
    for section, _address, size, file in _MAP_LINE.findall(placed):
        if f"lib{name}.a(" not in file:
            continue
        if section.startswith(".text"):
            code += int(size, 16)
        elif section.startswith((".rodata", ".srodata", ".data.rel.ro", ".progmem")):
            weights += int(size, 16)
    return ModuleShare(code, weights)
