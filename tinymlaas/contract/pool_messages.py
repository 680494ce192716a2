"""What scheduler and worker pools say to each other; CloudEvents as in `messages`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tinymlaas.contract.base import Model
from tinymlaas.contract.compiler import CompilerDescription
from tinymlaas.contract.digest import Sha256
from tinymlaas.contract.jobs import CandidateJob, Inspection, Outcome
from tinymlaas.contract.messages import Event, Shape, TensorName, Traceparent
from tinymlaas.contract.quantisation import Activations, QuantisationOutcome

PoolName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
WorkerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}$")]
TaskId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

PREPARE_POOL = "prepare"  # inspects and quantises models; the other pools are named as compilers

MAX_LINKS = 32  # of the jobs that share one task: what a trace is told of
MAX_TAIL = 2000  # characters of a running task's log that are told


class ModelFile(Model):
    """A model or calibration file, one of our own blobs: whose it is a worker is not told."""

    digest: Sha256
    filename: str = "model"


class InspectTask(Model):
    """Check a model, fix its shapes and summarise it."""

    kind: Literal["inspect"] = "inspect"
    model: ModelFile
    shapes: dict[TensorName, Shape] = {}


class QuantiseTask(Model):
    """Turn a float model into an integer one."""

    kind: Literal["quantise"] = "quantise"
    model: ModelFile
    samples: ModelFile
    activations: Activations
    shapes: dict[TensorName, Shape] = {}


class BuildTask(Model):
    """Build one candidate with exactly this compiler `version` and `build`."""

    kind: Literal["build"] = "build"
    job: CandidateJob
    version: str
    build: str


class JudgeTask(Model):
    """Run a finished `module` on labelled samples, where it was run to verify it."""

    kind: Literal["judge"] = "judge"
    module: Sha256
    samples: ModelFile


Work = Annotated[InspectTask | QuantiseTask | BuildTask | JudgeTask, Field(discriminator="kind")]


class PoolTask(Model):
    """One piece of work. `action` names what comes out, `task_id` this one sending of it.

    `service` is the version of our own part of the work: a worker of another one must not answer
    under this action. `seconds` is the wall-clock limit. A `suspect` task has seen workers die:
    it is tried once with each sending, any other twice. `links` are trace contexts of more jobs
    that want it, besides that of the envelope.
    """

    task_id: TaskId
    action: Sha256
    pool: PoolName
    service: str
    seconds: Annotated[float, Field(gt=0)]
    suspect: bool = False
    work: Work
    links: Annotated[tuple[Traceparent, ...], Field(max_length=MAX_LINKS)] = ()


class TaskSent(Event):
    """The scheduler has a pool do something."""

    TYPE: ClassVar[str] = "tinymlaas.pool.task.v1"
    type: Literal["tinymlaas.pool.task.v1"] = "tinymlaas.pool.task.v1"
    data: PoolTask


class TaskKill(Model):
    """The one sending of an action that nobody wants any more."""

    task_id: TaskId
    action: Sha256


class TaskKilled(Event):
    """The scheduler tells all workers of a pool to give up a task."""

    TYPE: ClassVar[str] = "tinymlaas.pool.kill.v1"
    type: Literal["tinymlaas.pool.kill.v1"] = "tinymlaas.pool.kill.v1"
    data: TaskKill


class TaskStatus(StrEnum):
    """done: the outcome says how, also where it is a refusal. failed: our fault. retry: our fault
    and worth another try. killed: nobody wanted it. stale: the worker has another version of
    compiler or service. suspect: it was delivered too often without an end and not tried this
    time; the scheduler judges why. quarantined: it has killed its workers, as the scheduler found.
    """

    DONE = "done"
    FAILED = "failed"
    RETRY = "retry"
    KILLED = "killed"
    STALE = "stale"
    SUSPECT = "suspect"
    QUARANTINED = "quarantined"


class TaskEnd(Model):
    """How a task ended. `refused` marks a refusal of the input by any but a build; `unsupported`
    says of a refusal that the model is sound but has no form such as was asked for.

    `cached` if the store had the outcome; `log` is the blob with what the tools have said.
    """

    task_id: TaskId
    action: Sha256
    pool: PoolName
    worker: WorkerName
    status: TaskStatus
    reasons: tuple[str, ...] = ()
    refused: bool = False
    unsupported: bool = False
    cached: bool = False
    seconds: float = 0.0
    log: Sha256 | None = None
    outcome: Outcome | None = None
    inspection: Inspection | None = None
    quantisation: QuantisationOutcome | None = None
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None


class TaskEnded(Event):
    """A worker has finished with a task; sent again after a redelivery."""

    TYPE: ClassVar[str] = "tinymlaas.pool.outcome.v1"
    type: Literal["tinymlaas.pool.outcome.v1"] = "tinymlaas.pool.outcome.v1"
    data: TaskEnd


class TaskStanding(Model):
    """How far a running task is: `stage`, percent if known, the log's last line and its end.

    `attempt` counts the deliveries of this sending.
    """

    task_id: TaskId
    action: Sha256
    pool: PoolName
    worker: WorkerName
    attempt: Annotated[int, Field(ge=1)]
    stage: str
    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    line: str | None = None
    tail: Annotated[str, Field(max_length=MAX_TAIL)] | None = None


class TaskProgressed(Event):
    """A running task has got on; may be lost."""

    TYPE: ClassVar[str] = "tinymlaas.pool.progress.v1"
    type: Literal["tinymlaas.pool.progress.v1"] = "tinymlaas.pool.progress.v1"
    data: TaskStanding


class WorkerStanding(Model):
    """A worker that lives: what it is and what it does (`action`, None if idle).

    `leaving` is its last word: it drains and takes nothing more.
    """

    pool: PoolName
    worker: WorkerName
    service: str
    description: CompilerDescription | None = None
    action: Sha256 | None = None
    task_id: TaskId | None = None
    leaving: bool = False


class WorkerSeen(Event):
    """A worker's heartbeat."""

    TYPE: ClassVar[str] = "tinymlaas.pool.hello.v1"
    type: Literal["tinymlaas.pool.hello.v1"] = "tinymlaas.pool.hello.v1"
    data: WorkerStanding


class RollCall(Model):
    """Whose turn it is to say that they live."""

    pool: PoolName


class RollCalled(Event):
    """A scheduler that has become active has every worker of a pool say hello at once."""

    TYPE: ClassVar[str] = "tinymlaas.pool.rollcall.v1"
    type: Literal["tinymlaas.pool.rollcall.v1"] = "tinymlaas.pool.rollcall.v1"
    data: RollCall


class PoolDescription(Model):
    """What is known of a pool whose workers may all be away: kept in the store."""

    pool: PoolName
    service: str
    description: CompilerDescription | None = None
