"""A compiler that is any program: ``describe``, ``supports TASK``, ``compile TASK OUT``."""

from __future__ import annotations

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from tinymlaas.contract.base import Model
from tinymlaas.contract.compiler import CompilerDescription, CompileTask, Estimate, Support
from tinymlaas.contract.errors import CompilerCrashed, UsageError
from workers import sandbox
from workers.compilers.inside import Ended
from workers.compilers.output import parse, read_compiled, read_unsupported, shortened
from workers.compilers.plugin import EXIT_UNSUPPORTED, Output, task_files
from workers.sandbox import Step
from workers.sandbox.files import Files

CONFIG_FILE = "compiler.toml"
_ASK_SECONDS = 30.0


class CommandConfig(Model):
    """``compiler.toml``: the command is run with the compiler's folder as working directory."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=32)]
    version: Annotated[str, Field(min_length=1)]
    command: Annotated[tuple[str, ...], Field(min_length=1)]


class CommandCompiler:
    """A compiler from outside, found by its folder."""

    def __init__(
        self, folder: Path, config: CommandConfig, compile_seconds: float | None = None
    ) -> None:
        """Wrap the program that `config` names.

        `compile_seconds` limits one compile, in place of the sandbox's limit for it.
        """
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

    def supports(self, task: CompileTask, model: bytes) -> Support:
        """Return the answer of ``supports TASK.json``."""
        answer = self._ask("supports", task_files(task, model))
        found = parse(Support, answer, f"{self.name}: supports")
        return Support(reasons=shortened(found.reasons))

    def estimate(self, task: CompileTask, model: bytes) -> Estimate | None:
        """Return the answer of ``estimate TASK.json``, if the compiler says it has one."""
        if not self.describe().estimates:
            return None
        answer = self._ask("estimate", task_files(task, model))
        return parse(Estimate, answer, f"{self.name}: estimate")

    def compile(self, task: CompileTask, model: bytes) -> Output:
        """Run ``compile TASK.json OUT/`` and return its checked result."""
        seconds = self._compile_seconds
        ended = self._run("compile", Step.COMPILE, seconds, task_files(task, model))
        if ended.status == EXIT_UNSUPPORTED:
            raise read_unsupported(ended.files, self.name)
        self._check(ended, "compile")
        return read_compiled(ended.files, self.describe())

    def warm_up(self) -> None:
        """Have what its jobs are forked from started.

        Raises:
            Failure: there is no sandbox.
        """
        sandbox.prepare(readable=(self._folder,))

    def _ask(self, verb: str, task: Files | None = None) -> bytes:
        ended = self._run(verb, Step.ESTIMATE, _ASK_SECONDS, task)
        self._check(ended, verb)
        return ended.output

    def _check(self, ended: Ended, verb: str) -> None:
        if ended.status != 0:
            raise CompilerCrashed(
                f"{self.name}: {verb} ended with status {ended.status}: {ended.complaint}"
            )

    def _command(self) -> list[str]:
        program, *rest = self._config.command
        beside = self._folder / program
        return [str(beside) if beside.is_file() else program, *rest]

    def _run(self, verb: str, step: Step, seconds: float | None, task: Files | None) -> Ended:
        """Return how one run in a job of the sandbox ended, which sees the compiler's folder."""
        what = f"{self.name}: {verb}"
        try:
            ended: Ended = sandbox.call(
                "workers.compilers.inside:run_program",
                self._command(),
                str(self._folder),
                verb,
                task,
                returns=Ended,
                step=step,
                what=what,
                seconds=seconds,
                readable=(self._folder,),
            )
        except CompilerCrashed as error:
            named = (each if each.startswith(what) else f"{what}: {each}" for each in error.reasons)
            raise CompilerCrashed(*named) from None
        return ended


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
