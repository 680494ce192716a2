"""A farm in one thread with a clock of its own: broker, store and workers around the real core.

Everything happens in the order of its time; the scheduler and workers may be killed at any moment,
as the broker's and the store's contents live outside them.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler import effects as do
from scheduler.admission import Policy
from scheduler.core import Core
from scheduler.ports import Delivery, Facts, Token
from tests.unit.scheduler.facts import BOARD, compiler, inspection, quantisation, summary
from tinymlaas.contract.compiler import CompilerDescription
from tinymlaas.contract.device import DeviceProfile
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import UnknownBoard
from tinymlaas.contract.history import RaceRecord
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.messages import (
    CompileOrder,
    CompileRequested,
    JobEnd,
    JobEnded,
    Payload,
)
from tinymlaas.contract.pool_messages import (
    PREPARE_POOL,
    BuildTask,
    JudgeTask,
    PoolDescription,
    PoolTask,
    QuantiseTask,
    TaskEnd,
    TaskKilled,
    TaskSent,
    TaskStanding,
    TaskStatus,
    WorkerStanding,
)
from tinymlaas.contract.quantisation import QuantisationOutcome
from tinymlaas.contract.report import CandidateReport, CandidateStatus
from tinymlaas.contract.tensors import DType
from tinymlaas.contract.wire import MAX_TRUSTED_BYTES, parse

START = datetime(2026, 1, 1, tzinfo=UTC)
SERVICE = "service-1"
MODEL = inspection(summary(Relu=DType.FLOAT32))


def board(name: str) -> DeviceProfile:
    if name != "board":
        raise UnknownBoard(f"no board is called '{name}'")
    return DeviceProfile(
        name=name,
        title=name,
        vendor="v",
        mcu="m",
        datasheet="https://x",
        core=BOARD.core,
        memory=BOARD.memory,
    )


def request(tenant: str, job_id: str, model: str = "m", **changes: Any) -> CompileRequested:
    order = {"tenant": tenant, "model": Payload.of(model.encode(), tenant), "board": "board"}
    return CompileRequested(id=job_id, source="test", data=CompileOrder(**(order | changes)))


@dataclass
class Worker:
    pool: str
    name: str
    task: PoolTask | None = None
    deliveries: int = 0
    life: int = 0


@dataclass
class World:
    """`seconds_of` gives a task's run time, `deadly` tasks kill their worker; `quantised` is how
    tasks of quantising end that do not end well.
    """

    policy: Policy = field(default_factory=Policy)
    pools: dict[str, int] = field(default_factory=lambda: {"cc": 1})
    seconds_of: Callable[[PoolTask], float] = lambda task: 1.0
    deadly: Callable[[PoolTask], bool] = lambda task: False
    stage: str = "compiling"
    inspected: bool = True
    quantised: dict[str, Any] = field(default_factory=dict)
    judged: dict[str, Any] = field(default_factory=lambda: {"accuracy": 0.95})
    described: Callable[[str], CompilerDescription] = compiler

    def __post_init__(self) -> None:
        self.now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.unacked: dict[int, Delivery] = {}
        self.dead: list[tuple[Delivery, str]] = []
        self.queues: dict[str, deque[tuple[PoolTask, int]]] = {}
        self.records: dict[do.Key, JobEnded] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.told: dict[str, PoolDescription] = {}
        self.logs: dict[str, bytes] = {}
        self.races: list[tuple[str, RaceRecord]] = []
        self.files: set[tuple[str, int]] = set()
        self.events: list[JobEnded] = []
        self.replies: list[tuple[str, Any]] = []
        self.compiled: Counter[str] = Counter()
        self.recompiled: list[str] = []
        self.started: list[tuple[float, str, PoolTask]] = []
        self.answers: list[tuple[str, bytes]] = []
        self.epoch = 0
        self._tag = itertools.count(1)
        self.inspections: set[str] = set()
        self._standby: Core | None = None
        names = dict.fromkeys([*self.pools, PREPARE_POOL])
        self.workers = [
            Worker(pool, f"{pool}-{n}") for pool in names for n in range(self.pools.get(pool, 1))
        ]
        self.kill_scheduler()

    # Time

    def seconds(self) -> float:
        return self.now

    def utc(self) -> datetime:
        return START + timedelta(seconds=self.now)

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (seconds, next(self._order), what))

    def run(self, until: float = 1e6) -> None:
        """Let things happen until nothing is left to happen, or `until`."""
        while True:
            self.settle()
            if not self._agenda or self._agenda[0][0] > until or not self.unfinished():
                break
            self.now, _, what = heapq.heappop(self._agenda)
            what()
        self.now = max(self.now, min(until, self.now))

    def beats(self, until: int, every: int = 3) -> None:
        """Have workers say that they live, and the core look at the clock, until then."""
        for second in range(1, until, every):
            self.at(self.now + second, self.beat)

    def beat(self) -> None:
        """Have every worker say that it lives."""
        for worker in self.workers:
            self._hello(worker)
        self.core.tick()

    def unfinished(self) -> bool:
        return bool(self.unacked or any(self.queues.values()) or any(w.task for w in self.workers))

    # Scheduler

    def kill_scheduler(self) -> None:
        """Begin with an empty scheduler; the broker delivers again what was not acknowledged."""
        self._activate(self._scheduler())

    def change_schedulers(self) -> None:
        """Have the one in standby take over; the other lives on and knows nothing of it."""
        deposed = self.core
        awake = self._standby or self._scheduler()
        awake.tick()
        awake.drain()  # its connection is away
        self._standby = deposed
        self._activate(awake)

    def _scheduler(self) -> Core:
        policy = replace(self.policy, settle_seconds=0.0)
        return Core(policy, self, board, [*self.pools, PREPARE_POOL], SERVICE)

    def _activate(self, core: Core) -> None:
        self.epoch += 1
        self.core = core
        self.queues.clear()
        self.core.activated()
        for tag, old in list(self.unacked.items()):
            again = Delivery(Token("requests", self.epoch, tag), old.body, old.reply_to)
            self.unacked[tag] = again
            self.core.request(again)
        for worker in self.workers:
            self._hello(worker)

    def submit(self, message: CompileRequested | bytes, reply_to: str | None = None) -> None:
        body = message if isinstance(message, bytes) else message.encoded()
        tag = next(self._tag)
        delivery = Delivery(Token("requests", self.epoch, tag), body, reply_to)
        self.unacked[tag] = delivery
        self.core.request(delivery)

    def settle(self) -> None:
        while effects := self.core.drain():
            for effect in effects:
                self._do(effect)

    def _do(self, effect: do.Effect) -> None:
        core = self.core
        match effect:
            case do.Ack(token):
                if token.epoch == self.epoch:
                    self.unacked.pop(token.tag, None)
            case do.DeadLetter(token, reason):
                self.dead.append((self.unacked.pop(token.tag), reason))
            case do.Refuse(token, reply, event):
                self.replies.append((reply, event))
                self.unacked.pop(token.tag)
            case do.Keep(key, files):
                self.files |= {(key[0], hash(data)) for data in files}
                core.kept(key)
            case do.Look(key, _):
                found = MODEL if self.inspected or key in self.inspections else None
                record = None if found else self.records.get(key)
                core.looked(key, Facts(record, (), self._of(effect, found)))
            case do.LookUp(key, actions, wanted, judged):
                known = {a: self.outcomes[a] for a in actions if a in self.outcomes}
                told = self.records.get(key) if judged or len(known) < len(actions) else None
                if told is not None:
                    core.recorded(key, told)
                else:
                    core.found(key, known, [r for c, r in self.races if c == wanted])
            case do.RememberRace(where, record):
                self.races.append((where, record))
            case do.Send(pool, body):
                task = parse(body, TaskSent, MAX_TRUSTED_BYTES).data
                self.queues.setdefault(pool, deque()).append((task, 0))
                self.dispatch()
            case do.Kill(pool, body):
                self._kill(pool, parse(body, TaskKilled).data.task_id)
            case do.Call(pool, _):
                for worker in self.workers:
                    if worker.pool == pool:
                        self._hello(worker)
            case do.Remember(told):
                self.told[told.pool] = told
            case do.Recall(pools):
                core.recalled([told for pool, told in self.told.items() if pool in pools])
            case do.Answer(reply, body):
                self.answers.append((reply, body))
            case do.Announce(event, reply):
                self.replies.append((reply or "topic", event))
            case do.Finish(key, event, replies, log):
                if log is not None:
                    self.logs[sha256(log)] = log
                kept = self.records.setdefault(key, event)
                if core.saved(key, kept):
                    self.events.append(kept)
                    self.replies += [(reply, kept) for reply in replies]
                    core.finished(key, kept.data.state)

    def _of(self, look: do.Look, found: Any) -> Any:
        """An inspection of the very model that is asked for."""
        return found and found.model_copy(update={"source_digest": look.order.model.digest})

    # Workers

    def _hello(self, worker: Worker, leaving: bool = False) -> None:
        task = worker.task
        described = self.described(worker.pool) if worker.pool != PREPARE_POOL else None
        self.core.heard(
            WorkerStanding(
                pool=worker.pool,
                worker=worker.name,
                service=SERVICE,
                description=described,
                action=task.action if task else None,
                task_id=task.task_id if task else None,
                leaving=leaving,
            )
        )

    def dispatch(self) -> None:
        for worker in self.workers:
            queue = self.queues.get(worker.pool)
            if worker.task is None and queue:
                worker.task, before = queue.popleft()
                worker.deliveries = before + 1
                self._start(worker)

    def _start(self, worker: Worker) -> None:
        task = worker.task
        assert task is not None
        stored = self.outcomes.get(task.action)
        if stored is not None:
            self.end(worker, TaskStatus.DONE, outcome=stored, cached=True)
            return
        if worker.deliveries > (1 if task.suspect else 2):
            self.end(worker, TaskStatus.SUSPECT)
            return
        self.core.progressed(
            TaskStanding(
                task_id=task.task_id,
                action=task.action,
                pool=task.pool,
                worker=worker.name,
                attempt=worker.deliveries,
                stage=self.stage,
                line="at work",
                tail="begun\nat work",
            )
        )
        self.started.append((self.now, worker.name, task))
        life = worker.life
        done = self.now + self.seconds_of(task)
        if self.deadly(task):
            self.at(done, lambda: worker.life == life and self.kill_worker(worker))
        else:
            self.at(done, lambda: worker.life == life and self._done(worker))

    def kill_worker(self, worker: Worker) -> None:
        """SIGKILL: the broker delivers its task again, and a new worker takes its place."""
        task, worker.task = worker.task, None
        worker.life += 1
        worker.name = f"{worker.pool}-{next(self._order)}"
        if task is not None:
            self.queues.setdefault(worker.pool, deque()).appendleft((task, worker.deliveries))
        self.dispatch()

    def _kill(self, pool: str, task_id: str) -> None:
        for worker in self.workers:
            if worker.pool == pool and worker.task and worker.task.task_id == task_id:
                self.end(worker, TaskStatus.KILLED)
                return
        queue = self.queues.get(pool, deque())
        for entry in [entry for entry in queue if entry[0].task_id == task_id]:
            queue.remove(entry)
            self._ended(entry[0], "nobody", TaskStatus.KILLED)

    def _done(self, worker: Worker) -> None:
        task = worker.task
        assert task is not None
        if isinstance(task.work, BuildTask):
            self.compiled[task.action] += 1
            if task.action in self.outcomes:
                self.recompiled.append(task.action)
            outcome = self.outcomes.setdefault(task.action, built(task))
            self.end(worker, TaskStatus.DONE, outcome=outcome, seconds=self.seconds_of(task))
        elif isinstance(task.work, JudgeTask):
            self.end(worker, TaskStatus.DONE, **self.judged)
        elif isinstance(task.work, QuantiseTask):
            digest = sha256(task.work.model.digest.encode())
            done = QuantisationOutcome(model_digest=digest, report=quantisation(0.03))
            self.end(worker, TaskStatus.DONE, **(self.quantised or {"quantisation": done}))
        else:
            digest = task.work.model.digest
            found = MODEL.model_copy(update={"source_digest": digest})
            self.end(worker, TaskStatus.DONE, inspection=found)

    def end(self, worker: Worker, status: TaskStatus, **facts: Any) -> None:
        task, worker.task = worker.task, None
        worker.life += 1
        assert task is not None
        self._ended(task, worker.name, status, **facts)
        self.dispatch()

    def _ended(self, task: PoolTask, worker: str, status: TaskStatus, **facts: Any) -> None:
        self.core.task_ended(
            TaskEnd(
                task_id=task.task_id,
                action=task.action,
                pool=task.pool,
                worker=worker,
                status=status,
                **facts,
            )
        )


def built(task: PoolTask) -> Outcome:
    assert isinstance(task.work, BuildTask)
    report = CandidateReport(
        compiler=task.work.job.compiler,
        kernels=task.work.job.task.kernels,
        status=CandidateStatus.VERIFIED,
        action_digest=task.action,
        module_digest="e" * 64,
        instructions=5,
        flash_bytes=5,
        ram_bytes=5,
        bit_exact=True,
    )
    return Outcome(report=report, archive_digest="e" * 64)


def ended(world: World) -> tuple[JobEnd, tuple[CandidateReport, ...]]:
    """Run the only job to its end, of which nothing is left; return it and its candidates."""
    world.run()
    (event,) = world.events
    assert not world.unacked
    assert len(world.core.actions) == 0
    return event.data, event.data.result.candidates if event.data.result else ()
