"""Workbenches whose compilers misbehave in every way, opened by name in the task's own process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

from storage.directory import DirectoryStore
from storage.signing import LocalSigner
from tests.unit.scheduler.facts import compiler
from tinymlaas.contract.errors import RetryableFailure, StoreError, UnsupportedModel
from tinymlaas.contract.progress import Silent
from workers.build import Workbench


class Behaviours:
    """Stands for the registry; the compiler's name says what happens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> object:
        print(f"{name} says hello", flush=True)
        return getattr(self, f"_{name}")()

    def _refuses(self) -> None:
        raise UnsupportedModel("not this one")

    def _crashes(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _exits(self) -> None:
        print("something is wrong", flush=True)
        os._exit(3)

    def _sleeps(self) -> None:
        # A grandchild in a session of its own, as compilers are.
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        from workers import guardian

        with guardian.group(child.pid):
            (self.folder / "pids").write_text(f"{os.getpid()} {child.pid}")
            time.sleep(600)

    def _chatters(self) -> None:
        raise UnsupportedModel(*(["x" * 2000] * 4600))

    def _later(self) -> None:
        raise RetryableFailure("come again")

    def _changed(self) -> object:
        """Return a compiler that is another one now than when the worker was started."""
        now = compiler("changed").model_copy(update={"build": "f" * 64})
        return SimpleNamespace(describe=lambda: now)

    def _storeless(self) -> object:
        return SimpleNamespace(describe=compiler)


class Away(DirectoryStore):
    """A store that fails when a model is read."""

    def get(self, key):
        if key.path.startswith("blobs/"):
            raise StoreError("the store is away")
        return super().get(key)


def open_bench(where: str) -> Workbench:
    store = (Away if where.endswith("away") else DirectoryStore)(Path(where))
    return Workbench(
        Behaviours(Path(where)), store, LocalSigner.generate(), Path(where) / "cache", Silent()
    )
