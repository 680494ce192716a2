"""Which compilers there are: an explicit table of ours, and folders named by the user."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinymlaas.contract.errors import CompilerCrashed, UsageError
from workers.compilers import command
from workers.compilers.in_tree import InTreeCompiler
from workers.compilers.plugin import Compiler


@dataclass(frozen=True)
class _InTree:
    module: str  # the plugin module
    requires: str  # the library it needs
    extra: str  # the extra of our distribution that installs that library
    preload: tuple[str, ...] = ()  # what its jobs find imported


_IN_TREE = {
    "cmsis-nn": _InTree("workers.compilers.cmsis_nn.plugin", "tflite", "models"),
    "tflm": _InTree("workers.compilers.tflm.plugin", "tflite_micro", "tflm"),
    "tvm": _InTree(
        "workers.compilers.tvm.plugin",
        "tvm",
        "tvm",
        (
            "tvm",
            "tvm.relax.frontend.onnx",
            "workers.compilers.tvm.graph.build",
        ),
    ),
}


@dataclass(frozen=True)
class Registry:
    """The compilers found, by name, and those that cannot be used, with the reason."""

    compilers: dict[str, Compiler]
    unavailable: dict[str, str]

    def get(self, name: str) -> Compiler:
        """Return the compiler called `name`.

        Raises:
            UsageError: there is none; says which there are, or why it cannot be used.
        """
        if name in self.compilers:
            return self.compilers[name]
        if name in self.unavailable:
            raise UsageError(f"compiler {name} cannot be used: {self.unavailable[name]}")
        known = ", ".join(sorted(self.compilers)) or "none"
        raise UsageError(f"no compiler is called '{name}'; there are: {known}")


def discover(folders: Iterable[Path] = ()) -> Registry:
    """Return all compilers: ours whose library is installed, and one for each of `folders`.

    Raises:
        UsageError: a folder holds no sound ``compiler.toml``, or a name is taken twice.
    """
    compilers: dict[str, Compiler] = {}
    unavailable: dict[str, str] = {}
    for name, entry in _IN_TREE.items():
        if importlib.util.find_spec(entry.requires) is None:
            unavailable[name] = f"{entry.requires} is not installed (extra '{entry.extra}')"
        else:
            compilers[name] = InTreeCompiler(entry.module, entry.preload)
    for folder in folders:
        found = command.load(folder.resolve())
        if found.name in {*compilers, *unavailable, *_IN_TREE}:
            raise UsageError(f"{folder}: a compiler called '{found.name}' is there already")
        try:
            found.describe()
        except CompilerCrashed as error:
            unavailable[found.name] = str(error)
        else:
            compilers[found.name] = found
    return Registry(compilers, unavailable)


def names(folders: Iterable[Path] = ()) -> list[str]:
    """Return the names of the compilers there are, without asking any of them.

    Raises:
        UsageError: a folder holds no sound ``compiler.toml``.
    """
    ours = [name for name, entry in _IN_TREE.items() if importlib.util.find_spec(entry.requires)]
    return sorted({*ours, *(command.load(folder.resolve()).name for folder in folders)})


def one(name: str, folders: Sequence[Path] = ()) -> Compiler:
    """Return the compiler called `name`, not yet asked anything: for a pool that has only that.

    Raises:
        UsageError: there is none, or a folder holds no sound ``compiler.toml``.
    """
    if name in _IN_TREE:
        return discover().get(name)
    for folder in folders:
        found = command.load(folder.resolve())
        if found.name == name:
            return found
    known = ", ".join(names(folders)) or "none"
    raise UsageError(f"no compiler is called '{name}'; there are: {known}")
