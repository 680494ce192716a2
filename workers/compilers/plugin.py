"""What the service asks of a compiler, whoever wrote it and in whatever language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tinymlaas.contract.compiler import (
    Compiled,
    CompilerDescription,
    CompileTask,
    Estimate,
    Support,
)
from workers.sandbox.files import Files

TASK_FILE = "task.json"
COMPILED_FILE = "compiled.json"
UNSUPPORTED_FILE = "unsupported.json"
EXIT_UNSUPPORTED = 3


@dataclass(frozen=True)
class Output:
    """What a compiler made: ``compiled.json``, checked, and all files of its ``OUT/`` by path."""

    compiled: Compiled
    files: Files


class Compiler(Protocol):
    """A compiler behind the plugin interface (docs/compiler-plugins.md).

    `model` is always the static model's bytes, which the task names. Only a job in the sandbox
    ever reads them.
    """

    @property
    def origin(self) -> str:
        """Where it was found: ``built in`` or the folder of its ``compiler.toml``."""

    def describe(self) -> CompilerDescription:
        """Return name, version, operators, cores and options.

        Raises:
            CompilerCrashed: the compiler gave no valid description.
        """

    def supports(self, task: CompileTask, model: bytes) -> Support:
        """Return whether the compiler takes `task`.

        Raises:
            CompilerCrashed: the compiler gave no valid answer.
        """

    def estimate(self, task: CompileTask, model: bytes) -> Estimate | None:
        """Return what the module of `task` will take; None if not known.

        Raises:
            UnsupportedModel: the compiler has found that it cannot take the task.
            CompilerCrashed: the compiler gave no valid answer.
        """

    def compile(self, task: CompileTask, model: bytes) -> Output:
        """Compile `task`.

        Raises:
            UnsupportedModel: the compiler cannot take this task after all.
            CompilerCrashed: it crashed, hung, or broke the interface.
        """

    def warm_up(self) -> None:
        """Have what its jobs are forked from started, so that the first need not wait for it.

        Raises:
            Failure: there is no sandbox.
        """


def task_files(task: CompileTask, model: bytes) -> Files:
    """Return the folder that ``task.json`` lies in, as files."""
    return {TASK_FILE: task.model_dump_json().encode(), task.model: model}
