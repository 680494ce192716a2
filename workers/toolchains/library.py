"""From a compiler's output folder to a static library with the fixed C ABI."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from storage import files
from tinymlaas.contract.compiler import Compiled
from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.errors import CompilerCrashed, ToolchainError
from workers.toolchains import abi, cflags, image, process
from workers.toolchains.toolchain import Toolchain, archiver_for, cannot_link

_HEADERS = {".h", ".hh", ".hpp", ".inc", ".def"}
_JOBS = 2
_COMPILE_TIMEOUT = 600.0


@dataclass(frozen=True)
class Library:
    """A built module: folders ``include/``, ``src/`` and ``lib/`` below `root`.

    `sources` are all files below ``src/`` (sources and headers), sorted; `cflags` are those the
    sources were compiled with; `toolchain` is the compiler's version line.
    """

    root: Path
    path: Path
    header: Path
    sources: tuple[Path, ...]
    cflags: tuple[str, ...]
    toolchain: str


def build_library(
    compiled_dir: Path,
    compiled: Compiled,
    name: str,
    target: CapabilityClass,
    work_dir: Path,
    *,
    cache: Path | None = None,
) -> Library:
    """Compile what `compiled` lists, with the ABI for `name`, into ``lib/lib<name>.a``.

    The library's bytes depend on the sources, the flags and the toolchain, not on where
    `compiled_dir` and `work_dir` lie: every path given to a tool is relative, and the archive
    carries no times or owners. Where there is no gcc for the core (MSP430) the library holds the
    compiler's objects alone, and the ABI is left as a source to compile elsewhere. Sources that
    are `unlinked` are only copied: the library then holds the ABI alone. Sources in folders are
    those of a kernel library, not of one model: their objects are kept in `cache`.

    Raises:
        CompilerCrashed: the output breaks the interface: files missing or outside the folder,
            flags not allowed, objects for another machine, sources that do not compile.
        ToolchainError: the toolchain is missing or failed.
    """
    toolchain = archiver_for(target.core)
    version = toolchain.version()
    extra = cflags.check_extra(compiled.cflags)
    glue = f"{name}_module.c"
    sources = _copy_in(compiled_dir, compiled, work_dir, glue)
    (work_dir / "obj").mkdir(parents=True, exist_ok=True)
    _write(work_dir / "include" / f"{name}.h", abi.header(name, compiled))
    _write(work_dir / "src" / glue, abi.source(name, compiled))
    includes = [f"-Isrc/{folder}" for folder in compiled.include_dirs]
    flags = (*toolchain.cflags(target), *extra)
    reason = cannot_link(target.core)
    if sources and reason:
        raise ToolchainError(f"the compiler wrote sources, but {reason}")
    objects = []
    if reason is None:
        flags_here = [*flags, "-Iinclude", *includes]
        compiled_here = [glue] if compiled.unlinked else [glue, *sources]
        objects = _compile_all(toolchain, flags_here, compiled_here, work_dir, cache)
    objects += _copy_objects(toolchain, compiled_dir, compiled, work_dir)
    library = work_dir / "lib" / f"lib{name}.a"
    _archive(toolchain, objects, library, work_dir)
    files = sorted(path for path in (work_dir / "src").rglob("*") if path.is_file())
    return Library(
        root=work_dir,
        path=library,
        header=work_dir / "include" / f"{name}.h",
        sources=tuple(files),
        cflags=flags,
        toolchain=version,
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _inside(folder: Path, relative: str) -> Path:
    """Return the file `relative` of `folder`, which must not lie elsewhere by way of a link."""
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise CompilerCrashed(f"compiled.json lists {relative}, which leads out of its folder")
    if not path.exists():
        raise CompilerCrashed(f"compiled.json lists {relative}, which is not there")
    return path


def _copy_in(compiled_dir: Path, compiled: Compiled, work_dir: Path, glue: str) -> tuple[str, ...]:
    """Copy sources, and the headers beside them or in include folders, to ``src/``."""
    folders = {str(PurePosixPath(source).parent) for source in compiled.sources}
    for folder in sorted({*folders, *compiled.include_dirs}):
        recursive = folder in compiled.include_dirs
        for header in _headers(_inside(compiled_dir, folder), recursive):
            _copy(compiled_dir, str(header.relative_to(compiled_dir.resolve())), work_dir)
    for source in compiled.sources:
        if source == glue:
            raise CompilerCrashed(f"compiled.json lists {source}, a name the ABI needs")
        if PurePosixPath(source).suffix not in cflags.LANGUAGE:
            raise CompilerCrashed(f"compiled.json lists {source}, which is not C, C++ or assembly")
        _copy(compiled_dir, source, work_dir)
    for extra in compiled.extras:
        if (work_dir / "src" / extra).exists() or extra == glue:
            raise CompilerCrashed(f"compiled.json lists {extra} twice")
        _copy(compiled_dir, extra, work_dir)
    return compiled.sources


def _headers(folder: Path, recursive: bool) -> Iterable[Path]:
    found = folder.rglob("*") if recursive else folder.glob("*")
    return (path for path in found if path.suffix in _HEADERS and path.is_file())


def _copy(compiled_dir: Path, relative: str, work_dir: Path) -> None:
    copy = work_dir / "src" / relative
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_inside(compiled_dir, relative), copy)


def _compile_all(
    toolchain: Toolchain,
    flags: list[str],
    sources: list[str],
    work_dir: Path,
    cache: Path | None,
) -> list[str]:
    def compile_one(source: str) -> str:
        made = f"obj/{source.replace('/', '_')}.o"
        if cache is None or "/" not in source:
            compile_source(toolchain, flags, f"src/{source}", made, work_dir)
        else:
            _compile_once(toolchain, flags, f"src/{source}", made, work_dir, cache)
        return made

    with ThreadPoolExecutor(max_workers=min(_JOBS, len(sources))) as pool:
        objects = list(pool.map(compile_one, sources))
    if len(set(objects)) != len(objects):
        raise CompilerCrashed("compiled.json lists sources whose object names clash")
    return objects


def _compile_once(
    toolchain: Toolchain, flags: list[str], source: str, made: str, cwd: Path, cache: Path
) -> None:
    """Compile as `compile_source` does, or take the object that the same text gave before.

    The preprocessed text stands for the source and all it includes.
    """
    text = f"{made}.i"
    compile_source(toolchain, [*flags, "-E"], source, text, cwd)
    key = hashlib.sha256("\0".join((toolchain.version(), *flags)).encode())
    key.update((cwd / text).read_bytes())
    (cwd / text).unlink()
    kept = cache / f"{key.hexdigest()}.o"
    try:
        if kept.exists():
            shutil.copyfile(kept, cwd / made)
            return
        compile_source(toolchain, flags, source, made, cwd)
        cache.mkdir(parents=True, exist_ok=True)
        files.replace(kept, (cwd / made).read_bytes(), cache)
    except OSError as error:
        reason = error.strerror or error
        raise ToolchainError(f"cannot keep objects in {cache}: {reason}") from None


def compile_source(
    toolchain: Toolchain,
    flags: list[str],
    source: str,
    made: str,
    cwd: Path,
    *,
    language: tuple[str, ...] | None = None,
) -> None:
    """Compile `source` to the object `made`, both relative to `cwd`.

    `language` replaces the flags of the source's language.

    Raises:
        CompilerCrashed: gcc does not accept the source; the reason is its first error.
        ToolchainError: gcc is not installed, or ran out of time.
    """
    suffix = PurePosixPath(source).suffix
    gcc = toolchain.tool("gcc" if suffix in (".c", ".S") else "g++")
    spoken = cflags.LANGUAGE[suffix] if language is None else language
    command = [gcc, *flags, *spoken, "-c", source, "-o", made]
    done = process.run(command, cwd, _COMPILE_TIMEOUT)
    if done.returncode != 0:
        raise CompilerCrashed(f"{Path(gcc).name} rejects {source}: {first_error(done.stderr)}")


def first_error(stderr: str) -> str:
    """Return the first line of a tool's messages that names an error, without the tool's path."""
    lines = [line for line in stderr.splitlines() if line.strip() and "collect2:" not in line]
    telling = [line for line in lines if "error:" in line or "overflowed" in line] or lines[-1:]
    return telling[0].rpartition("ld: ")[2] if telling else "no message"


def _copy_objects(
    toolchain: Toolchain, compiled_dir: Path, compiled: Compiled, work_dir: Path
) -> list[str]:
    copies = []
    for relative in compiled.objects:
        path = _inside(compiled_dir, relative)
        machine = image.elf_machine(path)
        if machine not in toolchain.elf_machine:
            raise CompilerCrashed(f"object {relative} is for {machine or 'no machine'}, not ELF "
                                  f"for {toolchain.elf_machine[0]}")  # fmt: skip
        copy = f"obj/given_{relative.replace('/', '_')}.o"
        shutil.copyfile(path, work_dir / copy)
        copies.append(copy)
    return copies


def _archive(toolchain: Toolchain, objects: list[str], library: Path, work_dir: Path) -> None:
    library.parent.mkdir(parents=True, exist_ok=True)
    library.unlink(missing_ok=True)
    ar = toolchain.tool("ar")
    relative = str(library.relative_to(work_dir))
    done = process.run([ar, "rcsD", relative, *sorted(objects)], work_dir, _COMPILE_TIMEOUT)
    if done.returncode != 0:
        raise ToolchainError(f"{Path(ar).name} failed: {first_error(done.stderr)}")
