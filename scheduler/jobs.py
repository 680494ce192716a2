"""A job as the scheduler remembers it: little while it waits, more once it is planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from scheduler.effects import Key
from scheduler.forms import Form
from scheduler.hurry import Hurry
from scheduler.limits import of_form
from scheduler.planning import Need
from scheduler.ports import Token
from tinymlaas.contract.jobs import Inspection
from tinymlaas.contract.messages import CompileOrder, JobState
from tinymlaas.contract.model import ModelSummary
from tinymlaas.contract.pool_messages import TaskStanding
from tinymlaas.contract.quantisation import QuantisationReport
from tinymlaas.contract.report import CandidateReport


class Step(IntEnum):
    """What a job does next."""

    KEEPING = 0
    WAITING = 1
    LOOKING = 2
    PREPARING = 3
    HELD = 4  # until pools are known that it needs
    LOOKING_UP = 5
    BUILDING = 6
    ENDING = 7


_REPLIES = 8  # that are told of one job's end; more than a client that comes back needs
_STATES = {
    Step.KEEPING: JobState.QUEUED,
    Step.WAITING: JobState.QUEUED,
    Step.LOOKING: JobState.PLANNING,
    Step.PREPARING: JobState.PLANNING,
    Step.HELD: JobState.PLANNING,
    Step.LOOKING_UP: JobState.PLANNING,
    Step.BUILDING: JobState.COMPILING,
}


@dataclass(slots=True, eq=False)
class Place:
    """A candidate's place in its job's table: what is to build it, or how it came out.

    `summary` is of the form of the model that it is made of, None for what stands for no candidate
    of one, as for a compiler that is away; `quantisation` says how that form was made. `need` is
    None as soon as there is a `report`; `built` is that of a candidate whose accuracy is awaited.
    """

    summary: ModelSummary | None = None
    quantisation: QuantisationReport | None = None
    need: Need | None = None
    built: CandidateReport | None = None
    report: CandidateReport | None = None

    def take(self, report: CandidateReport) -> None:
        """Take what came of it, with what is known of the form of the model it was made of."""
        self.need = self.built = None
        self.report = of_form(report, self.quantisation)


@dataclass(slots=True, eq=False)
class Plan:
    """What a planned job needs: its model's forms, then its candidates' places, in order.

    `given` is the inspection of the model as it came, `quantised` of its quantised form, of which
    `lacking` says why there is none. `places` finds the candidate that an action builds, `judging`
    those whose accuracy one finds; `wants` are the actions waited for. `core` is the kind of core
    they are for. `last_words` is what is left of the logs of workers that died at one of them.
    """

    order: CompileOrder
    given: Inspection | None = None
    quantised: Inspection | None = None
    quantisation: QuantisationReport | None = None
    lacking: CandidateReport | None = None
    table: list[Place] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    judging: dict[str, list[Place]] | None = None
    wants: set[str] = field(default_factory=set)
    quarantined: list[str] = field(default_factory=list)
    log: str | None = None
    last_words: bytes | None = None
    core: str = ""
    progress: TaskStanding | None = None

    def take_forms(self) -> list[Form]:
        """Return the forms that race, the model as it was given first, and keep them no longer."""
        forms = [Form(self.given)] if self.given is not None else []
        if self.quantised is not None:
            forms.append(Form(self.quantised, self.quantisation))
        self.given = self.quantised = None
        return forms

    @property
    def hurry(self) -> Hurry:
        """When the job need not wait for all of its candidates."""
        return Hurry(self.order.first, self.order.budget, self.order.race.limits)

    def reports(self) -> list[CandidateReport]:
        """Return what is known of candidates, in their order."""
        return [each.report for each in self.table if each.report is not None]

    def open(self) -> list[Need]:
        """Return what would build the candidates that are not built yet."""
        return [e.need for e in self.table if e.need is not None and e.built is None]


@dataclass(slots=True, eq=False)
class Job:
    """One job. `order` is the order's JSON, every file by reference and without the reply queue,
    for the same order may be sent by several who want to be told; `mark` is its digest's start.

    `deadline` is in the clock's seconds, and so is `until`, when its budget of building is spent:
    None while that is not begun; `since` is when its present stage began, from its turn on. `plan`
    is None while the job only waits.
    """

    tenant: str
    job_id: str
    order: bytes
    mark: bytes
    priority: int
    tokens: tuple[Token, ...]
    received: float
    deadline: float | None
    replies: tuple[str, ...]
    traceparent: str | None
    tracestate: str | None
    step: Step = Step.KEEPING
    before_end: JobState | None = None
    replans: int = 0
    until: float | None = None
    since: float = 0.0
    plan: Plan | None = None

    @property
    def key(self) -> Key:
        """Tenant and id."""
        return self.tenant, self.job_id

    @property
    def state(self) -> JobState:
        """What others are told: how a job ended only its record can say, once it is kept."""
        return state_at(self.step, self.before_end)

    def delivered(self, other: Job) -> None:
        """Note one more delivery of the same request; tokens of earlier connections are void."""
        (token,) = other.tokens
        self.replies = tuple(dict.fromkeys(self.replies + other.replies))[-_REPLIES:]
        same = (t for t in self.tokens if (t.source, t.epoch) == (token.source, token.epoch))
        others = (t for t in self.tokens if t.source != token.source)
        self.tokens = (*others, *same, token)


def state_at(step: Step, before_end: JobState | None) -> JobState:
    """Return the state of a job at `step`; one that is ending is said to be as it was before."""
    return before_end or _STATES[step]


def plan_of(job: Job) -> Plan:
    """Return the plan of a job that has one, as its step says."""
    assert job.plan is not None  # noqa: S101 - for the type checker
    return job.plan
