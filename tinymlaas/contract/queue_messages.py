"""Who waits in the farm: the question and its answer; CloudEvents as in `messages`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tinymlaas.contract.base import Model
from tinymlaas.contract.messages import Event, JobState, ReplyQueue, TenantName
from tinymlaas.contract.pool_messages import PoolName

Count = Annotated[int, Field(ge=0)]


class QueueQuestion(Model):
    """Where the answer goes."""

    reply: ReplyQueue


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
    a worker (`sent`), and jobs that wait for it. `seconds` is what a task takes on average.
    """

    pool: PoolName
    workers: Count = 0
    busy: Count = 0
    sent: Count = 0
    waiting: Count = 0
    seconds: float | None = None


class QueueOverview(Model):
    """Who waits, as the active scheduler sees it."""

    tenants: tuple[TenantQueue, ...] = ()
    pools: tuple[PoolQueue, ...] = ()


class QueueTold(Event):
    """The answer; `id` is that of the question."""

    TYPE: ClassVar[str] = "tinymlaas.queue.state.v1"
    type: Literal["tinymlaas.queue.state.v1"] = "tinymlaas.queue.state.v1"
    data: QueueOverview


class QueueReport(QueueOverview):
    """What ``queue --json`` prints: with what the broker says.

    `scheduler` is False if none answered; `unread` requests wait in the broker for it. `dead` are
    letters that a person has to look at, by queue.
    """

    scheduler: bool
    unread: Count
    dead: dict[str, Count]
