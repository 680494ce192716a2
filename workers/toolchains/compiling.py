"""What of a library's making runs in a job of the sandbox: the job's folder is where it works."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tinymlaas.contract.device import Core
from tinymlaas.contract.errors import CompilerCrashed, ToolchainError
from workers.sandbox import files
from workers.sandbox.files import Files
from workers.toolchains import cflags, image, process
from workers.toolchains.toolchain import Toolchain, archiver_for

_JOBS = 2
_TIMEOUT = 600.0


@dataclass(frozen=True)
class Recipe:
    """A library to make: `units` are the sources among `files` to compile with `flags`.

    `objects` were compiled before, `given` came from the compiler, for which machine is looked at.
    """

    name: str
    core: Core
    files: Files
    units: tuple[str, ...]
    flags: tuple[str, ...]
    objects: Files
    given: Files


def make_library(recipe: Recipe) -> bytes:
    """Return ``lib<name>.a``.

    Every path given to a tool is relative, and the archive carries no times or owners.

    Raises:
        CompilerCrashed: a source does not compile, or an object is for another machine.
        ToolchainError: the toolchain failed.
    """
    here = Path()
    toolchain = archiver_for(recipe.core)
    given = {f"given_{path.replace('/', '_')}.o": path for path in recipe.given}
    files.write(here, recipe.files)
    files.write(here / "obj", recipe.objects | {o: recipe.given[p] for o, p in given.items()})
    for made, path in given.items():
        _check_machine(here / "obj" / made, path, toolchain)

    def compile_one(unit: str) -> None:
        compile_source(toolchain, recipe.flags, f"src/{unit}", f"obj/{object_of(unit)}", here)

    (here / "obj").mkdir(exist_ok=True)
    with ThreadPoolExecutor(max_workers=_JOBS) as pool:
        list(pool.map(compile_one, recipe.units))
    library = here / f"lib{recipe.name}.a"
    _archive(toolchain, library, here)
    return library.read_bytes()


def make_object(core: Core, source: str, flags: tuple[str, ...], given: Files) -> bytes:
    """Return the object of one `source` among the files `given`."""
    here, made = Path(), "made.o"
    files.write(here, given)
    compile_source(archiver_for(core), flags, source, made, here)
    return (here / made).read_bytes()


def object_of(source: str) -> str:
    """Return the name of the object of `source`."""
    return f"{source.replace('/', '_')}.o"


def compile_source(
    toolchain: Toolchain,
    flags: tuple[str, ...],
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
    done = process.run(command, cwd, _TIMEOUT)
    if done.returncode != 0:
        raise CompilerCrashed(f"{Path(gcc).name} rejects {source}: {first_error(done.stderr)}")


def first_error(stderr: str) -> str:
    """Return the first line of a tool's messages that names an error, without the tool's path."""
    lines = [line for line in stderr.splitlines() if line.strip() and "collect2:" not in line]
    telling = [line for line in lines if "error:" in line or "overflowed" in line] or lines[-1:]
    return telling[0].rpartition("ld: ")[2] if telling else "no message"


def _check_machine(made: Path, path: str, toolchain: Toolchain) -> None:
    try:
        machine = image.machine_of_object(made)
    except image.DamagedObject as error:
        raise CompilerCrashed(f"object {path}: {error}") from None
    if machine not in toolchain.elf_machine:
        raise CompilerCrashed(
            f"object {path} is for {machine or 'no machine'}, not ELF for "
            f"{toolchain.elf_machine[0]}"
        )


def _archive(toolchain: Toolchain, library: Path, here: Path) -> None:
    ar = toolchain.tool("ar")
    objects = sorted(f"obj/{path.name}" for path in (here / "obj").iterdir())
    done = process.run([ar, "rcsD", library.name, *objects], here, _TIMEOUT)
    if done.returncode != 0:
        raise ToolchainError(f"{Path(ar).name} failed: {first_error(done.stderr)}")
