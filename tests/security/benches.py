"""The workbench of a task's own process, opened there by name."""

from __future__ import annotations

from pathlib import Path

from storage.directory import DirectoryStore
from storage.signing import LocalSigner
from tinymlaas.contract.progress import Silent
from workers.build import Workbench
from workers.compilers import command
from workers.compilers.registry import Registry


def open_bench(folder: str) -> Workbench:
    place = Path(folder)
    registry = Registry({"hostile": command.load(place / "hostile")}, {})
    store = DirectoryStore(place / "bucket")
    return Workbench(registry, store, LocalSigner.generate(), place / "toolchain", Silent())
