"""A compiler of our own: answers questions in-process, compiles in a child process."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from tinymlaas.contract.compiler import (
    Compiled,
    CompilerDescription,
    CompileTask,
    Estimate,
    Support,
)
from workers import child, guardian
from workers.compilers.output import read_compiled, read_unsupported
from workers.compilers.plugin import TASK_FILE, UNSUPPORTED_FILE
from workers.sources import source_digest

_ESTIMATE_SECONDS = 60.0


class _Plugin(Protocol):
    def describe(self) -> CompilerDescription: ...
    def supports(self, task: CompileTask) -> Support: ...


class InTreeCompiler:
    """Wraps a module with `describe()`, `supports(task)` and `compile(task_path, out)`.

    It may have `estimate(task)`, or `estimate_model(task_path)` where the model must be read for
    it. `compile` writes ``compiled.json`` or ``unsupported.json`` into `out`, as the program would.
    What sees only facts, never model bytes, needs no process of its own.
    """

    def __init__(self, module: str, compile_seconds: float = 600.0) -> None:
        """Name the plugin module, imported on first use; `compile_seconds` limits a compile."""
        self._module = module
        self._compile_seconds = compile_seconds

    @property
    def origin(self) -> str:
        """These come with tinymlaas."""
        return "built in"

    def _plugin(self) -> _Plugin:
        return cast(_Plugin, importlib.import_module(self._module))

    def describe(self) -> CompilerDescription:
        """Return the compiler's description; its build is the digest of its own sources."""
        package = self._module.rpartition(".")[0]
        described = self._plugin().describe()
        return described.model_copy(update={"build": source_digest(package)[:16]})

    def supports(self, task: CompileTask, folder: Path) -> Support:
        """Return whether the compiler takes `task`."""
        return self._plugin().supports(task)

    def estimate(self, task: CompileTask, folder: Path) -> Estimate | None:
        """Return the compiler's estimate, if it has a way to make one."""
        plugin = self._plugin()
        from_facts = getattr(plugin, "estimate", None)
        if from_facts is not None:
            return cast("Estimate | None", from_facts(task))
        if not hasattr(plugin, "estimate_model"):
            return None
        with guardian.scratch("compiler") as scratch:
            found: Estimate | None = child.call(
                f"{self._module}:estimate_model",
                folder / TASK_FILE,
                seconds=_ESTIMATE_SECONDS,
                log=scratch / "log",
                what=f"{self._module.split('.')[-2]} estimate",
            )
        return found

    def compile(self, folder: Path, out: Path) -> Compiled:
        """Compile ``folder/task.json`` into `out` in a child process."""
        description = self.describe()
        with guardian.scratch("compiler") as scratch:
            child.call(
                f"{self._module}:compile",
                folder / TASK_FILE,
                out,
                seconds=self._compile_seconds,
                log=scratch / "log",
                what=f"{description.name} compile",
            )
        if (out / UNSUPPORTED_FILE).exists():
            raise read_unsupported(out, description.name)
        return read_compiled(out, description)
