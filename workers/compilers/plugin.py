"""What the service asks of a compiler, whoever wrote it and in whatever language."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tinymlaas.contract.compiler import (
    Compiled,
    CompilerDescription,
    CompileTask,
    Estimate,
    Support,
)

TASK_FILE = "task.json"
COMPILED_FILE = "compiled.json"
UNSUPPORTED_FILE = "unsupported.json"
EXIT_UNSUPPORTED = 3


class Compiler(Protocol):
    """A compiler behind the plugin interface (docs/compiler-plugins.md)."""

    @property
    def origin(self) -> str:
        """Where it was found: ``built in`` or the folder of its ``compiler.toml``."""

    def describe(self) -> CompilerDescription:
        """Return name, version, operators, cores and options.

        Raises:
            CompilerCrashed: the compiler gave no valid description.
        """

    def supports(self, task: CompileTask, folder: Path) -> Support:
        """Return whether the compiler takes `task`, written as ``task.json`` in `folder`.

        Raises:
            CompilerCrashed: the compiler gave no valid answer.
        """

    def estimate(self, task: CompileTask, folder: Path) -> Estimate | None:
        """Return what the module of `task`, written in `folder`, will take; None if not known.

        Raises:
            UnsupportedModel: the compiler has found that it cannot take the task.
            CompilerCrashed: the compiler gave no valid answer.
        """

    def compile(self, folder: Path, out: Path) -> Compiled:
        """Compile ``folder/task.json`` into the empty folder `out`.

        Raises:
            UnsupportedModel: the compiler cannot take this task after all.
            CompilerCrashed: it crashed, hung, or broke the interface.
        """
