"""A compiler of our own: answers questions in-process, reads models in a job of the sandbox."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Protocol, cast

from tinymlaas.contract.compiler import CompilerDescription, CompileTask, Estimate, Support
from workers import sandbox
from workers.compilers.output import read_compiled, read_unsupported
from workers.compilers.plugin import UNSUPPORTED_FILE, Output, task_files
from workers.sandbox import Step
from workers.sandbox.files import Files
from workers.sources import source_digest


class _Plugin(Protocol):
    def describe(self) -> CompilerDescription: ...
    def supports(self, task: CompileTask) -> Support: ...


class InTreeCompiler:
    """Wraps a module with `describe()`, `supports(task)` and `compile(task_path, out)`.

    It may have `estimate(task)`, or `estimate_model(task_path)` where the model must be read for
    it. `compile` writes ``compiled.json`` or ``unsupported.json`` into `out`, as the program would.
    What sees only facts, never model bytes, needs no job of its own. `TREE_VARIABLE` of the module
    is the environment variable that may name a tree of kernel sources, which its jobs then see.
    """

    def __init__(self, module: str, preload: tuple[str, ...] = ()) -> None:
        """Name the plugin module, imported on first use.

        `preload` are the heavy modules that it needs, imported once a worker.
        """
        self._module = module
        self._preload = preload

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

    def supports(self, task: CompileTask, model: bytes) -> Support:
        """Return whether the compiler takes `task`."""
        return self._plugin().supports(task)

    def estimate(self, task: CompileTask, model: bytes) -> Estimate | None:
        """Return the compiler's estimate, if it has a way to make one."""
        plugin = self._plugin()
        from_facts = getattr(plugin, "estimate", None)
        if from_facts is not None:
            return cast("Estimate | None", from_facts(task))
        if not hasattr(plugin, "estimate_model"):
            return None
        variables = self._variables()
        found: Estimate | None = sandbox.call(
            "workers.compilers.inside:estimate_in_tree",
            self._module,
            task_files(task, model),
            variables,
            returns=Estimate | None,
            step=Step.ESTIMATE,
            what=f"{self._module.split('.')[-2]} estimate",
            readable=_folders(variables),
            preload=self._preload,
            imports=(self._module,),
        )
        return found

    def compile(self, task: CompileTask, model: bytes) -> Output:
        """Compile `task` in a job of the sandbox."""
        description = self.describe()
        variables = self._variables()
        files = sandbox.call(
            "workers.compilers.inside:compile_in_tree",
            self._module,
            task_files(task, model),
            variables,
            returns=Files,
            step=Step.COMPILE,
            what=f"{description.name} compile",
            readable=_folders(variables),
            preload=self._preload,
            imports=(self._module,),
        )
        if UNSUPPORTED_FILE in files:
            raise read_unsupported(files, description.name)
        return read_compiled(files, description)

    def warm_up(self) -> None:
        """Have what its jobs are forked from started; it takes as long as importing the compiler.

        Raises:
            Failure: there is no sandbox.
        """
        sandbox.prepare(preload=self._preload, readable=_folders(self._variables()))

    def _variables(self) -> dict[str, str]:
        """Return what a job needs to know of our environment: where the kernel sources lie."""
        name = getattr(self._plugin(), "TREE_VARIABLE", "")
        named = os.environ.get(name)
        return {name: str(Path(named).resolve())} if named else {}


def _folders(variables: dict[str, str]) -> tuple[Path, ...]:
    return tuple(map(Path, variables.values()))
