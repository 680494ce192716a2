"""One run: a module, its samples and a scratch folder; linking the harness and starting it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.errors import ToolchainError
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.tensors import TensorSpec
from workers.toolchains import process
from workers.toolchains.firmware import (
    ModuleFiles,
    compile_parts,
    compile_table,
    link_image,
    startup_sources,
)
from workers.verify import streams
from workers.verify.streams import Answer, Array, Sample

HARNESS_DIR = Path(__file__).parent / "harness"
# Not a main that calls it: on the smallest machines every frame on the stack counts.
_ENTRY = "-Wl,--defsym=main=tinymlaas_harness"
INPUTS = "inputs.bin"
OUTPUTS = "outputs.bin"


class RunFailed(ToolchainError):
    """The module was started and did not end well: a fault, a crash, or no end at all."""


@dataclass(frozen=True)
class RunResult:
    """What a run has shown.

    `outputs` has one array per sample and output. `instructions` is the largest count of all
    samples (`instructions_by_sample`), without the cost of counting; None where they cannot be
    counted. `stack_bytes` is the deepest watermark of init and all samples. `level` is simulated
    on a simulated machine, measured on the host itself.
    """

    outputs: tuple[tuple[Array, ...], ...]
    instructions: int | None
    instructions_by_sample: tuple[int, ...]
    stack_bytes: int | None
    machine: str
    simulator: str
    level: Level


@dataclass(frozen=True)
class Job:
    """What is to be run, and `work_dir` to do it in, which its owner removes."""

    module: ModuleFiles
    name: str
    target: CapabilityClass
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    samples: Sequence[Sample]
    cache: Path | None
    timeout: float
    work_dir: Path

    def write_inputs(self) -> None:
        """Write the input stream; raises `ValueError` for a sample of the wrong kind."""
        stream = streams.encode(self.samples, self.inputs, self.outputs)
        (self.work_dir / INPUTS).write_bytes(stream)

    def link(
        self,
        target: CapabilityClass,
        sources: Sequence[str],
        defines: Sequence[str] = (),
        script: str | None = None,
        extra: Sequence[str] = (),
        objects: Sequence[Path] = (),
    ) -> Path:
        """Link the module with `sources` of the harness and more `objects`."""
        paths = [*startup_sources(target.core), *(HARNESS_DIR / name for name in sources)]
        parts = compile_parts(paths, target, self.work_dir, defines=defines, cache=self.cache)
        table = compile_table(self.module, self.name, target, self.work_dir)
        return link_image(
            [*parts, table, *objects],
            self.module,
            target,
            self.work_dir,
            script=script,
            extra=(*extra, _ENTRY),
        )

    def start(
        self,
        command: Sequence[str],
        where: str,
        output: Path | None = None,
        until: Callable[[], bool] | None = None,
    ) -> process.Completed:
        """Run `command` to its end.

        Raises:
            RunFailed: it did not end in time, or a signal ended it.
        """
        try:
            done = process.run(command, self.work_dir, self.timeout, output=output, until=until)
        except process.TimedOut:
            raise RunFailed(
                f"the module did not end on {where} within {self.timeout:g} s "
                f"({len(self.samples)} samples)"
            ) from None
        if done.returncode < 0:
            name = signal.Signals(-done.returncode).name
            raise RunFailed(f"the module crashed on {where}: {name}")
        return done

    def answer(self) -> Answer:
        """Return what the harness has written; raises `RunFailed` if it is not whole."""
        path = self.work_dir / OUTPUTS
        return self.decode(path.read_bytes() if path.exists() else b"")

    def decode(self, stream: bytes) -> Answer:
        """Return the answer in `stream`; raises `RunFailed` if it is not whole."""
        try:
            return streams.decode(stream, len(self.samples), self.outputs)
        except streams.BrokenStream as error:
            raise RunFailed(f"the harness ended early, after {error} of its answer") from None


def deepest(answers: Sequence[Answer]) -> int | None:
    """Return the deepest stack of all calls, or None if one went deeper than was painted."""
    depths = [m.stack for answer in answers for m in (answer.init, *answer.samples)]
    return None if streams.STACK_UNKNOWN in depths else max(depths)
