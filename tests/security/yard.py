"""Where hostile compilers are let loose: a bench as a worker has it, with small limits."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from storage import keys
from storage.memory import MemoryStore
from storage.signing import LocalSigner
from tests.security.hostile import NEEDLE, Planted, install, planted
from tests.security.tasks import inspected, job
from tests.services.stub_compiler import FAST
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.progress import Silent
from workers import sandbox
from workers.build import Workbench, build
from workers.compilers import command
from workers.compilers.registry import Registry
from workers.sandbox.limits import parse

# Small, so that to reach them takes seconds; every attack that gives up by itself does so beyond.
LIMITS = "compile.memory=512MiB,compile.files=64MiB,compile.processes=48,"
LIMITS += "link.memory=1GiB,link.files=256MiB,simulate.memory=3GiB,simulate.files=128MiB"
# For what goes on for ever; others may take longer on a busy machine.
HURRY = f"{LIMITS},compile.seconds=2,link.seconds=4,simulate.seconds=4"
_GONE_SECONDS = 10.0  # the kernel ends what a job leaves a moment after the job


@dataclass
class Yard:
    """A hostile compiler, a store, and what is planted around them."""

    plan: Planted
    bench: Workbench
    compiler: command.CommandCompiler
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def build(self, does: str, board: str = FAST, limits: str = LIMITS) -> Outcome:
        """Have the compiler do that, under a name that no job had before."""
        name = f"{does[:20]}_{next(self.numbers)}"
        sandbox.configure(sandbox.Settings(limits=parse(limits)))
        return build(job(does, self.compiler.describe(), board, name), self.bench)

    def harm(self) -> list[str]:
        """Say what is not as it was, once what has ended had time to go."""
        deadline = time.monotonic() + _GONE_SECONDS
        while (found := self.plan.harm()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Yard]:
    """Open a yard in `folder`; the secret is in our own environment meanwhile."""
    settings = sandbox.settings()
    os.environ["TINYMLAAS_SECRET"] = NEEDLE
    try:
        with planted(folder) as plan:
            compiler = command.load(install(folder / "hostile", plan))
            registry = Registry({"hostile": compiler}, {})
            store = MemoryStore()
            model, inspection = inspected()
            store.put(keys.blob(inspection.static_digest), model)
            signer = LocalSigner.generate()
            bench = Workbench(registry, store, signer, folder / "cache", Silent())
            yield Yard(plan, bench, compiler)
    finally:
        sandbox.configure(settings)
        del os.environ["TINYMLAAS_SECRET"]
