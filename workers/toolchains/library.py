"""From what a compiler wrote to a static library with the fixed C ABI."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tinymlaas.contract.compiler import Compiled
from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.errors import CompilerCrashed, ToolchainError
from workers import sandbox
from workers.sandbox import Step
from workers.sandbox.files import Files
from workers.toolchains import abi, cflags, objects
from workers.toolchains.compiling import Recipe, object_of
from workers.toolchains.toolchain import archiver_for, cannot_link

_HEADERS = {".h", ".hh", ".hpp", ".inc", ".def"}
_JOBS = 2


@dataclass(frozen=True)
class Library:
    """A built module: ``lib<name>.a``, its header, and all files below ``src/`` by path.

    `cflags` are those the sources were compiled with; `toolchain` is the compiler's version line.
    """

    library: bytes
    header: bytes
    sources: Files
    cflags: tuple[str, ...]
    toolchain: str


def build_library(
    files: Files,
    compiled: Compiled,
    name: str,
    target: CapabilityClass,
    *,
    cache: Path | None = None,
) -> Library:
    """Compile what `compiled` lists of `files`, with the ABI for `name`, into ``lib<name>.a``.

    The library's bytes depend on the sources, the flags and the toolchain alone. Where there is no
    gcc for the core (MSP430) it holds the compiler's objects alone, and the ABI is left as a
    source to compile elsewhere. Sources that are `unlinked` are only copied: the library then
    holds the ABI alone. Sources in folders are those of a kernel library, not of one model: each
    is compiled by itself, with the headers in folders, and its object kept in `cache`.

    Raises:
        CompilerCrashed: the output breaks the interface: files missing, flags not allowed, objects
            for another machine, sources that do not compile.
        ToolchainError: the toolchain is missing or failed.
    """
    toolchain = archiver_for(target.core)
    version = toolchain.version()
    flags = (*toolchain.cflags(target), *cflags.check_extra(compiled.cflags))
    glue = f"{name}_module.c"
    sources = _taken(files, compiled, glue)
    header = abi.header(name, compiled).encode()
    sources[glue] = abi.source(name, compiled).encode()
    units = _units(compiled, glue, target)
    here = (*flags, "-Iinclude", *(f"-Isrc/{folder}" for folder in compiled.include_dirs))
    kernels = _Kernels(target, here, version, sources, cache)
    recipe = Recipe(
        name,
        target.core,
        {f"include/{name}.h": header, **_below_src(sources)},
        tuple(unit for unit in units if "/" not in unit),
        here,
        kernels.objects([unit for unit in units if "/" in unit]),
        {path: _file(files, path) for path in compiled.objects},
    )
    library: bytes = sandbox.call(
        "workers.toolchains.compiling:make_library",
        recipe,
        returns=bytes,
        step=Step.COMPILE,
        what="compiling the module's sources",
    )
    return Library(library, header, dict(sorted(sources.items())), flags, version)


@dataclass(frozen=True)
class _Kernels:
    """Compiles kernel sources: a job each, so that an object depends on what is in its key alone.

    Nothing that was generated for one model is visible to such a job but what lies in folders too.
    """

    target: CapabilityClass
    flags: tuple[str, ...]
    toolchain: str
    sources: Files
    cache: Path | None

    def objects(self, units: list[str]) -> Files:
        """Return the objects of `units`, by name."""
        headers = {p: c for p, c in self.sources.items() if "/" in p and _is_header(p)}
        seen = objects.key_of((self.toolchain, *self.flags), headers)

        def one(unit: str) -> bytes:
            key = objects.key_of((seen, unit), {unit: self.sources[unit]})
            found = objects.kept(self.cache, key)
            if found is None:
                found = self._made(unit, {**headers, unit: self.sources[unit]})
                objects.keep(self.cache, key, found)
            return found

        with ThreadPoolExecutor(max_workers=_JOBS) as pool:
            return dict(zip(map(object_of, units), pool.map(one, units), strict=True))

    def _made(self, unit: str, given: Files) -> bytes:
        made: bytes = sandbox.call(
            "workers.toolchains.compiling:make_object",
            self.target.core,
            f"src/{unit}",
            self.flags,
            _below_src(given),
            returns=bytes,
            step=Step.COMPILE,
            what=f"compiling {unit}",
        )
        return made


def _below_src(files: Files) -> Files:
    return {f"src/{path}": content for path, content in files.items()}


def _file(files: Files, path: str) -> bytes:
    if path not in files:
        raise CompilerCrashed(f"compiled.json lists {path}, which is not there")
    return files[path]


def _taken(files: Files, compiled: Compiled, glue: str) -> Files:
    """Return sources, extras, and the headers beside sources or in include folders."""
    taken = {path: files[path] for path in _headers(files, compiled)}
    for source in compiled.sources:
        if source == glue:
            raise CompilerCrashed(f"compiled.json lists {source}, a name the ABI needs")
        if PurePosixPath(source).suffix not in cflags.LANGUAGE:
            raise CompilerCrashed(f"compiled.json lists {source}, which is not C, C++ or assembly")
        taken[source] = _file(files, source)
    for extra in compiled.extras:
        if extra in taken or extra == glue:
            raise CompilerCrashed(f"compiled.json lists {extra} twice")
        taken[extra] = _file(files, extra)
    return taken


def _headers(files: Files, compiled: Compiled) -> Iterator[str]:
    for folder in compiled.include_dirs:
        if not any(path.startswith(f"{folder}/") for path in files):
            raise CompilerCrashed(f"compiled.json lists {folder}, which is not there")
    beside = {PurePosixPath(source).parent for source in compiled.sources}
    included = {PurePosixPath(folder) for folder in compiled.include_dirs}
    for path in files:
        parents = PurePosixPath(path).parents
        if _is_header(path) and (parents[0] in beside or not included.isdisjoint(parents)):
            yield path


def _is_header(path: str) -> bool:
    return PurePosixPath(path).suffix in _HEADERS


def _units(compiled: Compiled, glue: str, target: CapabilityClass) -> list[str]:
    """Return the sources that are compiled here."""
    reason = cannot_link(target.core)
    if reason is not None:
        if compiled.sources:
            raise ToolchainError(f"the compiler wrote sources, but {reason}")
        return []
    units = [glue] if compiled.unlinked else [glue, *compiled.sources]
    if len(set(map(object_of, units))) != len(units):
        raise CompilerCrashed("compiled.json lists sources whose object names clash")
    return units
