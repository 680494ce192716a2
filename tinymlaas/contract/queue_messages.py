"""Who waits in the farm: the question and its answer; CloudEvents as in `messages`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from tinymlaas.contract.base import Model
from tinymlaas.contract.messages import Event, JobId, JobState, ReplyQueue, TenantName
from tinymlaas.contract.pool_messages import PoolName

MOST_LISTED = 200  # jobs in one answer, and as many that have ended
Count = Annotated[int, Field(ge=0)]


class QueueQuestion(Model):
    """Where the answer goes; of how many unfinished jobs, and of how many that ended lately, it is
    to say more than that they are there; `tenant` if of one tenant alone.
    """

    reply: ReplyQueue
    jobs: Annotated[int, Field(ge=0, le=MOST_LISTED)] = 0
    tenant: TenantName | None = None


class QueueAsked(Event):
    """A client asks who waits; the answer is a `QueueTold` on its reply queue."""

    TYPE: ClassVar[str] = "tinymlaas.queue.query.v1"
    type: Literal["tinymlaas.queue.query.v1"] = "tinymlaas.queue.query.v1"
    data: QueueQuestion


class TenantQueue(Model):
    """One tenant's unfinished jobs by state."""

    tenant: TenantName
    jobs: dict[JobState, Count]


class PoolQueue(Model):
    """One pool: live `workers`, how many of them are `busy`, tasks that run or are on their way to
    a worker (`sent`), and jobs that wait for it. `seconds` is what a task takes on average,
    `oldest_seconds` the age of the oldest job that waits for it.
    """

    pool: PoolName
    workers: Count = 0
    busy: Count = 0
    sent: Count = 0
    waiting: Count = 0
    seconds: float | None = None
    oldest_seconds: float | None = None


class QueueOverview(Model):
    """Who waits, as the active scheduler sees it; jobs are counted once a second."""

    tenants: tuple[TenantQueue, ...] = ()
    pools: tuple[PoolQueue, ...] = ()


class JobLine(Model):
    """An unfinished job in short, known for `seconds`; the rest is as in `JobStanding`."""

    tenant: TenantName
    job_id: JobId
    state: JobState
    name: str
    board: str | None = None
    seconds: float
    waits_for: str = ""
    candidate: str | None = None
    stage: str | None = None
    percent: int | None = None
    candidates_done: int | None = None
    candidates_total: int | None = None


class EndLine(Model):
    """A job that has ended at `time`, `seconds` after its request came; `candidate` was chosen."""

    tenant: TenantName
    job_id: JobId
    state: JobState
    name: str
    board: str | None = None
    time: AwareDatetime
    seconds: float
    candidate: str | None = None
    reason: str = ""


class FarmView(QueueOverview):
    """Who waits, with the first of the `jobs` (those being worked on before those that wait) and
    the last that have `ended` since this `scheduler` has run, the latest first.
    """

    scheduler: str = ""
    jobs: tuple[JobLine, ...] = ()
    ended: tuple[EndLine, ...] = ()


class QueueTold(Event):
    """The answer; `id` is that of the question."""

    TYPE: ClassVar[str] = "tinymlaas.queue.state.v1"
    type: Literal["tinymlaas.queue.state.v1"] = "tinymlaas.queue.state.v1"
    data: FarmView


class QueueReport(QueueOverview):
    """What ``queue --json`` prints: with what the broker says.

    `scheduler` is False if none answered; `unread` requests wait in the broker for it. `dead` are
    letters that a person has to look at, by queue.
    """

    scheduler: bool
    unread: Count
    dead: dict[str, Count]
