"""One run: a module, its samples, and the places where its code may run.

The methods of `Job` are called inside the sandbox, in the job's folder: they link the harness and
start it. What comes out is what the harness wrote, which is only looked at outside.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.errors import ToolchainError
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.tensors import TensorSpec
from workers.sandbox.files import Files
from workers.toolchains import process
from workers.toolchains.firmware import Linkable, lay_out, link_image
from workers.verify import streams
from workers.verify.chips import Chip
from workers.verify.machines import Machine
from workers.verify.streams import Array, Sample

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
class Place:
    """A machine, a chip, or this host itself (None), with the harness compiled for it."""

    where: Machine | Chip | None
    target: CapabilityClass
    parts: Files


@dataclass(frozen=True)
class Part:
    """One run of the program: how many samples it took, and the stream that the harness wrote."""

    samples: int
    stream: bytes


@dataclass(frozen=True)
class Ran:
    """What came of a job: the number of the place where it ran, and its runs."""

    place: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Job:
    """What is to be run, and the places for it, the nearest to the target first."""

    name: str
    target: CapabilityClass
    library: bytes
    header: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    samples: Sequence[Sample]
    places: tuple[Place, ...]
    timeout: float


@dataclass(frozen=True)
class Bench:
    """A job's module laid out for one place, in a `folder` of its own; used inside the sandbox."""

    job: Job
    module: Linkable
    folder: Path
    around: tuple[str, ...]

    @classmethod
    def of(cls, job: Job, number: int) -> Bench:
        """Lay the module out for the place of that `number`."""
        place = job.places[number]
        module = Linkable(job.name, place.target, job.library, job.header, place.parts)
        folder = Path(f"place{number}")
        return cls(job, module, folder, tuple(lay_out(module, folder)))

    def write_inputs(self, samples: Sequence[Sample]) -> None:
        """Write the input stream."""
        stream = streams.encode(samples, self.job.inputs, self.job.outputs)
        (self.folder / INPUTS).write_bytes(stream)

    def link(
        self, script: str | None = None, extra: Sequence[str] = (), objects: Sequence[str] = ()
    ) -> Path:
        """Link the module with the harness and more `objects`; return the program."""
        around = (*self.around, *objects)
        return link_image(self.module, around, self.folder, script=script, extra=(*extra, _ENTRY))

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
        timeout = self.job.timeout
        try:
            done = process.run(command, self.folder, timeout, output=output, until=until)
        except process.TimedOut:
            raise RunFailed(
                f"the module did not end on {where} within {timeout:g} s "
                f"({len(self.job.samples)} samples)"
            ) from None
        if done.returncode < 0:
            name = signal.Signals(-done.returncode).name
            raise RunFailed(f"the module crashed on {where}: {name}")
        return done

    def ran(self, number: int) -> Ran:
        """Return what the harness has written into its file, as the answer to all samples."""
        path = self.folder / OUTPUTS
        stream = path.read_bytes() if path.exists() else b""
        return Ran(number, (Part(len(self.job.samples), stream),))
