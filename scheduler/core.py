"""The scheduler as a state machine: messages and answers in, effects out. No I/O, no clock.

A job goes through `Step`s: its files are kept, it waits for its turn, the store is asked what is
known (`Look`), the model is prepared by a worker where that is needed, its candidates' outcomes
are looked up (`LookUp`), what is missing is built, and the end is recorded (`Finish`). Only then is
its request acknowledged: whoever takes over after us begins again with what is unacknowledged,
finds in the store what was finished, and does the rest.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

from scheduler.actions import Actions
from scheduler.admission import Admission, NotAdmitted, Policy, refusal
from scheduler.announcing import Announcing
from scheduler.at_hand import AtHand
from scheduler.builds import Builds
from scheduler.census import Census
from scheduler.deadlines import Deadlines
from scheduler.deaths import last_words
from scheduler.effects import Ack, Answer, DeadLetter, Effect, Keep, Key, Recall, Refuse, Remember
from scheduler.ending import Ending
from scheduler.ends import answered, refused_event
from scheduler.jobs import Job, Step, plan_of
from scheduler.lately import Lately
from scheduler.meter import Meter, PoolNow, Unmetered, kind_of
from scheduler.parts import Parts
from scheduler.planner import Planner
from scheduler.planning import Boards
from scheduler.pools_known import PoolsKnown
from scheduler.ports import Clock, Delivery, Facts, Token
from scheduler.requests import read_request, same_order
from scheduler.trail import Trail, Untrailed
from scheduler.turns import Turns
from tinymlaas.contract.history import RaceRecord
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.messages import JobEnded, JobName, JobState
from tinymlaas.contract.pool_messages import (
    PREPARE_POOL,
    BuildTask,
    JudgeTask,
    PoolDescription,
    TaskEnd,
    TaskStanding,
    TaskStatus,
    WorkerStanding,
)
from tinymlaas.contract.wire import MalformedMessage

_EARLY_CANCELS = 10_000
_REDELIVERY_SECONDS = 1.0  # in which what is unacknowledged has come again, or most of it
_BEFORE_BUILDS = frozenset({Step.KEEPING, Step.HELD})  # beside those that turns and actions know


class Core:
    """Everything the scheduler decides. All methods are called by one thread; see `drain`."""

    def __init__(
        self,
        policy: Policy,
        clock: Clock,
        boards: Boards,
        pools: Sequence[str],
        service: str = "unknown",
        meter: Meter | None = None,
        trail: Trail | None = None,
    ) -> None:
        """Expect `pools`; `service` is the version of our own part of the work."""
        self._policy = policy
        self._clock = clock
        self._boards = boards
        self._pools = tuple(pools)
        self._effects: list[Effect] = []
        self._meter = meter or Unmetered()
        self._trail: Trail = trail or Untrailed()
        self._cancelled_early: OrderedDict[Key, None] = OrderedDict()
        self.known = PoolsKnown(pools, service)
        self._announcing = Announcing(self._effects, clock)
        self._events: Counter[str] = Counter()
        self.ended: Counter[JobState] = Counter()
        self._at_hand = AtHand()
        self._active_since = 0.0
        self.lately = Lately()
        self._begin()

    def _begin(self) -> None:
        """Begin with no job, and with nothing sent to anybody."""
        self._jobs: dict[Key, Job] = {}
        self._admission = Admission(self._policy)
        self._deadlines = Deadlines(self._jobs)
        self._turns = Turns(self._policy)
        self.census = Census(self._jobs, self._turns, self._clock)
        self.actions = Actions(self._policy, self._effects, self._meter, self._at_hand, self._trail)
        self._ending = Ending(
            self._jobs,
            self._effects,
            self._clock,
            self._turns,
            self.actions,
            self._meter,
            self._trail,
            self.ended,
            self.lately,
        )
        parts = Parts(
            self._jobs,
            self._effects,
            self._clock,
            self._turns,
            self.actions,
            self.known,
            self._announcing,
            self._ending,
            self._meter,
            self._trail,
            self._at_hand,
        )
        self._builds = Builds(parts)
        self._planner = Planner(parts, self._boards, self._policy.pool_seconds, self._disown)

    def __len__(self) -> int:
        return len(self._jobs)

    def drain(self) -> list[Effect]:
        """Return what is to be done now, in this order, and forget it."""
        self._planner.go_on()
        self.actions.pump(self._clock.seconds())
        effects, self._effects[:] = [*self._effects], []
        return effects

    def activated(self) -> None:
        """Take note that we are the active scheduler, now or again: see `Source.start`.

        If again, another may have been in between, and ended what we remember. So all of it is let
        go as if this process were new, and nobody is told: what is unfinished is delivered again,
        and the workers say what they do.
        """
        self._events["hit"] += self._builds.hits
        self.lately.forget_unfinished()
        self._trail.forgotten()
        self._begin()
        self._active_since = self._clock.seconds()
        self._do(Recall(self._pools))
        self.actions.activated(self._pools, self._clock.seconds())

    def recalled(self, told: Sequence[PoolDescription]) -> None:
        """Take what the store knows of pools, whose workers may be away."""
        for each in told:
            self.known.recall(each)

    # Requests

    def request(self, delivery: Delivery) -> None:
        """Take a compile request; the same one delivered again changes nothing."""
        try:
            job, files = read_request(delivery, self._clock)
        except MalformedMessage as error:
            self._refuse(delivery, error.reasons)
            return
        with self._at_hand.dealing(job.key):
            self._known_or_new(delivery, job, files)

    def _known_or_new(self, delivery: Delivery, job: Job, files: tuple[bytes, ...]) -> None:
        known = self._jobs.get(job.key)
        if known is not None and known.mark != job.mark:
            self._refuse(delivery, (f"job {job.job_id} is another order, not finished yet",))
        elif known is not None:
            known.delivered(job)
        else:
            self._new(job, files)

    def _refuse(self, delivery: Delivery, reasons: tuple[str, ...]) -> None:
        self._events["refused"] += 1
        self._meter.refused()
        found = refusal(delivery.body, delivery.reply_to, reasons)
        if found is None:
            self._do(DeadLetter(delivery.token, "; ".join(reasons)))
        else:
            self._do(Refuse(delivery.token, *found))

    def _disown(self, job: Job, reason: str) -> None:
        """Refuse a job whose id another order had that has ended: the record is of that one."""
        self._turns.withdraw(job)
        self._ending.drop_plan(job)
        self._jobs.pop(job.key, None)
        self._trail.dropped(job, reason)
        self._admission.release(job.tenant, job.order)
        self._events["refused"] += 1
        self._meter.refused()
        for token in job.tokens:
            if job.replies:
                self._do(Refuse(token, job.replies[-1], refused_event(job, (reason,))))
            else:
                self._do(DeadLetter(token, reason))

    def _new(self, job: Job, files: tuple[bytes, ...]) -> None:
        self._jobs[job.key] = job
        self._events["accepted"] += 1
        self._meter.accepted(job.tenant)
        try:
            self._admission.admit(job.tenant, job.order)
        except NotAdmitted as error:
            self._ending.end(job, JobState.REJECTED, error.reasons)
            job.order = b""  # it was never counted in
            return
        if job.key in self._cancelled_early:
            del self._cancelled_early[job.key]
            self._ending.end(job, JobState.CANCELLED, ("cancelled before it was begun",))
            return
        if job.deadline is not None:
            self._deadlines.add(job.deadline, job.key)
        if files:
            self._do(Keep(job.key, files))
        else:
            self._wait(job)

    def kept(self, key: Key) -> None:
        """Have a request planned in its turn, now that the store has its files."""
        with self._at_hand.dealing(key):
            job = self._at(key, Step.KEEPING)
            if job is not None:
                self._wait(job)

    def _wait(self, job: Job) -> None:
        job.step = Step.WAITING
        self._turns.wait(job)

    # Answers of the store

    def looked(self, key: Key, facts: Facts) -> None:
        """Take what the store knows of a job."""
        with self._at_hand.dealing(key):
            job = self._at(key, Step.LOOKING)
            if job is not None:
                self._planner.looked(job, facts)

    def recorded(self, key: Key, record: JobEnded) -> None:
        """Take the record of a job that has ended already: its request was delivered again."""
        with self._at_hand.dealing(key):
            job = self._at(key, Step.LOOKING_UP)
            if job is None:
                pass
            elif same_order(job, record):
                self._ending.finish(job, record)
            else:
                self._disown(job, f"job {job.job_id} was another order, which has ended")

    def found(
        self, key: Key, outcomes: Mapping[str, Outcome], races: Sequence[RaceRecord] = ()
    ) -> None:
        """Take the outcomes the store has, and past races, if asked; what it has not is built."""
        with self._at_hand.dealing(key):
            job = self._at(key, Step.LOOKING_UP)
            if job is not None:
                self._builds.found(job, outcomes, races)

    def saved(self, key: Key, record: JobEnded) -> bool:
        """Return whether `record`, which the store has as the end of a job, is to be published."""
        with self._at_hand.dealing(key):
            job = self._jobs.get(key)
            own = job is None or same_order(job, record)
            if job is not None and not own:
                self._disown(job, f"job {job.job_id} was another order, which has ended")
        return own

    def finished(self, key: Key, state: JobState) -> None:
        """Let go of a job whose record is kept and published; `state` is what the record says."""
        with self._at_hand.dealing(key):
            self._ending.finished(key, state, self._admission)

    # Workers

    def heard(self, standing: WorkerStanding) -> None:
        """Take a worker's heartbeat."""
        news = self.known.heard(standing)
        if news is not None:
            self._do(Remember(news))
        self.actions.heard(standing, self._clock.seconds())

    def progressed(self, standing: TaskStanding) -> None:
        """Take a running task's progress; all jobs that want it are told."""
        action = self.actions.progressed(standing, self._clock.seconds())
        for key in self._at_hand.each(list(action.waiters) if action else ()):
            plan_of(self._jobs[key]).progress = standing
            self._announcing.changed(self._jobs[key])
            self._builds.begun(self._jobs[key])

    def task_ended(self, end: TaskEnd, traceparent: str | None = None) -> None:
        """Take the end of a task for all jobs that want its action; told in the worker's trace."""
        end = answered(end)
        wanted = self.actions.get(end.action)
        action = self.actions.ended(end, self._clock.seconds())
        self._meter.task_ended(end, wanted.need.work.kind if wanted else kind_of(end))
        if action is None:
            again = end.status in (TaskStatus.RETRY, TaskStatus.SUSPECT)
            self._events["retried" if again else "unwanted"] += 1
            return
        self._events[end.status] += 1
        for key in self._at_hand.each(list(action.waiters)):
            job = self._jobs[key]
            plan = plan_of(job)
            plan.wants.discard(end.action)
            self._trail.ended(job, action.need, end, traceparent)
            if end.status is TaskStatus.QUARANTINED:
                plan.last_words = last_words(action.died.values()) or plan.last_words
            if end.status is TaskStatus.STALE:
                self._planner.replan(job, self._policy.replans)
            elif isinstance(action.need.work, BuildTask | JudgeTask):
                self._builds.ended(job, action, end)
            else:
                self._planner.preparing.ended(job, action, end)

    # Clients and the clock

    def cancel(self, name: JobName, token: Token) -> None:
        """Take a cancel; its message is acknowledged with the job's end."""
        key = (name.tenant, name.job_id)
        job = self._jobs.get(key)
        if job is None:  # the cancel may overtake its request
            self._cancelled_early[key] = None
            while len(self._cancelled_early) > _EARLY_CANCELS:
                self._cancelled_early.popitem(last=False)
            self._do(Ack(token))
            return
        job.tokens = (*job.tokens, token)
        if job.step is not Step.ENDING:
            with self._at_hand.dealing(key):
                self._ending.end(job, JobState.CANCELLED, ("cancelled",))

    def tick(self) -> None:
        """Look at the clock, about every second: deadlines, retries, silent workers."""
        now = self._clock.seconds()
        for deadline, key in self._deadlines.due(now):
            job = self._jobs.get(key)
            if job is not None and job.deadline == deadline and job.step is not Step.ENDING:
                reason = f"its deadline passed while it was {job.state}"
                with self._at_hand.dealing(key):
                    self._ending.end(job, JobState.FAILED, (reason,))
        for end in self.actions.tick(now):
            self.task_ended(end)
        self._builds.tick()
        self._planner.park()
        self._planner.go_on()
        self.actions.kill_unwanted(now, self._all_planned)

    def _all_planned(self) -> bool:
        """Return whether every job that will be planned in its turn now has come to its builds."""
        coming = self._clock.seconds() < self._active_since + _REDELIVERY_SECONDS
        if coming or self._turns.asks() or self.actions.has_work(PREPARE_POOL):
            return False
        return not any(job.step in _BEFORE_BUILDS for job in self._jobs.values())

    def status(self, name: JobName) -> None:
        """Answer how a job stands; state None for one that is not here (see the store)."""
        job = self._jobs.get((name.tenant, name.job_id))
        self._announcing.answer(name, job, self._turns.queue, self.actions, self.known)

    def acknowledge(self, token: Token) -> None:
        """Have a message acknowledged."""
        self._do(Ack(token))

    def set_aside(self, token: Token, reasons: tuple[str, ...]) -> None:
        """Have a message kept aside."""
        self._do(DeadLetter(token, "; ".join(reasons)))

    def about(self, key: Key) -> dict[str, str]:
        """Return what logs say of a job, be it here or not: whose it is, and its trace."""
        job = self._jobs.get(key)
        found = {"tenant": key[0], "job_id": key[1]}
        if job is not None and job.traceparent is not None:
            _, found["trace_id"], found["span_id"], _ = job.traceparent.split("-")
        return found

    # What others may know

    def answer(self, reply: str, body: bytes) -> None:
        """Have somebody answered who has asked for more than a job's standing."""
        self._do(Answer(reply, body))

    @property
    def at_fault(self) -> tuple[Key, ...]:
        """The jobs that were being decided on when a method of ours raised; often none."""
        return self._at_hand.keys

    def tokens_of(self, key: Key) -> tuple[Token, ...]:
        """Return by what a job's messages are acknowledged; nothing if it is not here."""
        job = self._jobs.get(key)
        return job.tokens if job is not None else ()

    def replies_of(self, key: Key) -> tuple[str, ...]:
        """Return where a job's end is to be told; nothing if it is not here."""
        job = self._jobs.get(key)
        return job.replies if job is not None else ()

    @property
    def events(self) -> Counter[str]:
        """How often what has happened: requests, hits, and tasks by how they ended."""
        return self._events + Counter(hit=self._builds.hits)

    def pools_now(self) -> dict[str, PoolNow]:
        """Return how each pool stands."""
        for name in self._pools:
            self.actions.pool(name)
        return self.actions.now(self._clock.seconds())

    def _at(self, key: Key, step: Step) -> Job | None:
        """Return the job if it is at `step`; it may have ended while the answer was under way."""
        job = self._jobs.get(key)
        if job is None or job.step is not step:
            return None
        self._turns.answered(key)
        return job

    def _do(self, effect: Effect) -> None:
        self._effects.append(effect)
