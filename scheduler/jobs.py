"""A job as the scheduler remembers it: little while it waits, more once it is planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from scheduler.effects import Key
from scheduler.planning import Need
from scheduler.ports import Token
from tinymlaas.contract.messages import CompileOrder, JobState
from tinymlaas.contract.pool_messages import TaskStanding
from tinymlaas.contract.report import CandidateReport


class Step(IntEnum):
    """What a job does next."""

    KEEPING = 0
    WAITING = 1
    LOOKING = 2
    PREPARING = 3
    LOOKING_UP = 4
    BUILDING = 5
    ENDING = 6


_STATES = {
    Step.KEEPING: JobState.QUEUED,
    Step.WAITING: JobState.QUEUED,
    Step.LOOKING: JobState.PLANNING,
    Step.PREPARING: JobState.PLANNING,
    Step.LOOKING_UP: JobState.PLANNING,
    Step.BUILDING: JobState.COMPILING,
}


@dataclass(slots=True, eq=False)
class Plan:
    """What a planned job needs: reports by candidate (None while it is built), in order.

    `places` says which candidate an action is; `needs` are those whose outcomes are being looked
    up, `wants` the actions waited for.
    """

    order: CompileOrder
    reports: list[CandidateReport | None] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    needs: dict[str, Need] = field(default_factory=dict)
    wants: set[str] = field(default_factory=set)
    quarantined: list[str] = field(default_factory=list)
    log: str | None = None
    progress: TaskStanding | None = None


@dataclass(slots=True, eq=False)
class Job:
    """One job. `order` is the order's JSON, every file by reference; `mark` its digest's start.

    `deadline` is in the clock's seconds. `plan` is None while the job only waits.
    """

    tenant: str
    job_id: str
    order: bytes
    mark: bytes
    priority: int
    tokens: tuple[Token, ...]
    received: float
    deadline: float | None
    reply: str | None
    traceparent: str | None
    tracestate: str | None
    step: Step = Step.KEEPING
    ended: JobState | None = None
    replans: int = 0
    plan: Plan | None = None

    @property
    def key(self) -> Key:
        """Tenant and id."""
        return self.tenant, self.job_id

    @property
    def state(self) -> JobState:
        """What others are told."""
        return self.ended or _STATES[self.step]

    def delivered(self, token: Token) -> None:
        """Note one more delivery of the same request; tokens of earlier connections are void."""
        same = (t for t in self.tokens if (t.source, t.epoch) == (token.source, token.epoch))
        others = (t for t in self.tokens if t.source != token.source)
        self.tokens = (*others, *same, token)
