"""A compiler that is any program: ``describe``, ``supports TASK``, ``compile TASK OUT``."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from tinymlaas.contract.base import Model
from tinymlaas.contract.compiler import (
    Compiled,
    CompilerDescription,
    CompileTask,
    Estimate,
    Support,
)
from tinymlaas.contract.errors import CompilerCrashed, UsageError
from workers import child, guardian
from workers.compilers.output import MAX_JSON_BYTES, parse, read_compiled, read_unsupported
from workers.compilers.plugin import EXIT_UNSUPPORTED, TASK_FILE

CONFIG_FILE = "compiler.toml"
_ASK_SECONDS = 30.0


class CommandConfig(Model):
    """``compiler.toml``: the command is run with the compiler's folder as working directory."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=32)]
    version: Annotated[str, Field(min_length=1)]
    command: Annotated[tuple[str, ...], Field(min_length=1)]


class CommandCompiler:
    """A compiler from outside, found by its folder."""

    def __init__(self, folder: Path, config: CommandConfig, compile_seconds: float = 600.0) -> None:
        """Wrap the program that `config` names; `compile_seconds` limits one compile."""
        self._folder = folder
        self._config = config
        self._compile_seconds = compile_seconds

    @property
    def origin(self) -> str:
        """The folder it was found in."""
        return str(self._folder)

    @property
    def name(self) -> str:
        """The name its configuration gives."""
        return self._config.name

    @cached_property
    def _description(self) -> CompilerDescription:
        what = f"{self.name}: describe"
        found = parse(CompilerDescription, self._ask("describe"), what)
        if (found.name, found.version) != (self._config.name, self._config.version):
            raise CompilerCrashed(
                f"{what} says {found.name} {found.version}, its {CONFIG_FILE} says "
                f"{self._config.name} {self._config.version}"
            )
        return found

    def describe(self) -> CompilerDescription:
        """Return the answer of ``describe``, asked once."""
        return self._description

    def supports(self, task: CompileTask, folder: Path) -> Support:
        """Return the answer of ``supports TASK.json``."""
        answer = self._ask("supports", str((folder / TASK_FILE).resolve()))
        return parse(Support, answer, f"{self.name}: supports")

    def estimate(self, task: CompileTask, folder: Path) -> Estimate | None:
        """Return the answer of ``estimate TASK.json``, if the compiler says it has one."""
        if not self.describe().estimates:
            return None
        answer = self._ask("estimate", str((folder / TASK_FILE).resolve()))
        return parse(Estimate, answer, f"{self.name}: estimate")

    def compile(self, folder: Path, out: Path) -> Compiled:
        """Run ``compile TASK.json OUT/`` and return its checked result."""
        args = ("compile", str((folder / TASK_FILE).resolve()), str(out.resolve()))
        status, _, errors = self._run(args, self._compile_seconds)
        if status == EXIT_UNSUPPORTED:
            raise read_unsupported(out, self.name)
        if status != 0:
            raise CompilerCrashed(f"{self.name}: compile ended with status {status}: {errors}")
        return read_compiled(out, self.describe())

    def _ask(self, *args: str) -> bytes:
        status, output, errors = self._run(args, _ASK_SECONDS)
        if status != 0:
            raise CompilerCrashed(f"{self.name}: {args[0]} ended with status {status}: {errors}")
        return output

    def _argv(self) -> list[str]:
        program, *rest = self._config.command
        beside = self._folder / program
        return [str(beside) if beside.is_file() else program, *rest]

    def _run(self, args: tuple[str, ...], seconds: float) -> tuple[int, bytes, str]:
        """Return exit status, stdout and the last line of stderr of one run."""
        with guardian.scratch("compiler") as scratch:
            answer, log = scratch / "stdout", child.log_of(scratch / "stderr")
            with answer.open("wb") as output, log.open("ab") as errors:
                before = errors.tell()
                try:
                    process = subprocess.Popen(
                        [*self._argv(), *args],
                        cwd=self._folder,
                        env=_environment(str(scratch)),
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=errors,
                        start_new_session=True,
                    )
                except OSError as error:
                    raise CompilerCrashed(f"{self.name}: cannot be started: {error}") from None
            status = self._wait(process, args[0], seconds)
            with answer.open("rb") as said:
                return status, said.read(MAX_JSON_BYTES + 1), child.last_line(log, before)

    def _wait(self, process: subprocess.Popen[bytes], verb: str, seconds: float) -> int:
        """Return the exit status; whatever is left of the process's group by then is killed."""
        with guardian.group(process.pid):
            try:
                return process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                raise CompilerCrashed(
                    f"{self.name}: {verb} took longer than {seconds:g} s and was stopped"
                ) from None
            finally:
                guardian.kill_group(process.pid)
                process.wait()


def _environment(scratch: str) -> dict[str, str]:
    """Return a bare environment: our Python first in PATH, fixed locale, no credentials."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {
        "PATH": path,
        "HOME": scratch,
        "TMPDIR": scratch,
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def load(folder: Path) -> CommandCompiler:
    """Return the compiler that ``folder/compiler.toml`` describes.

    Raises:
        UsageError: there is no such file or it is wrong; says what.
    """
    path = folder / CONFIG_FILE
    try:
        config = CommandConfig.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"no compiler in {folder}: cannot read {CONFIG_FILE}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}: {where}: {first['msg']}") from None
    return CommandCompiler(folder, config)
