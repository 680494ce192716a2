"""One worker of a pool: takes a task message, says how it goes, answers with how it ended.

The broker's adapter calls `PoolWorker.handle` with each message and acknowledges it when that
returns. Killed at any moment, the worker has its task delivered to another. One that is delivered a
third time is not tried but given back (``suspect``): the scheduler judges what became of its
workers, as a count of deliveries cannot tell a death from a lost connection.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from storage import keys
from storage.port import ObjectNotFound, ObjectStore
from tinymlaas.contract.compiler import CompilerDescription
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import RetryableFailure, StoreError, TinymlaasError
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.messages import Event
from tinymlaas.contract.pool_messages import (
    BuildTask,
    PoolTask,
    RollCalled,
    TaskEnd,
    TaskEnded,
    TaskKilled,
    TaskProgressed,
    TaskSent,
    TaskStanding,
    TaskStatus,
    WorkerSeen,
    WorkerStanding,
)
from tinymlaas.contract.wire import MAX_TRUSTED_BYTES, parse
from workers import child
from workers.handed_back import checked
from workers.notes import Note
from workers.task_process import Opener, Watch, run_task
from workers.trail import Following, Trail, Untrailed

DELIVERIES = 2  # of one sending that are tried; of a suspect task it is one
_KILLS_REMEMBERED = 1000
_ENDS_REMEMBERED = 100
_LINE = 400
_TAIL_SECONDS = 1.0  # between two looks at a running task's log
# Imported once by the fork server, not by each task: 0.7 s less for every one of them.
_PRELOADED = ("workers.task_process", "workers.stages")
# Where a build is when it begins a stage, in percent of its usual time; the rest is not known.
_PERCENT = {
    "inspecting": 10,
    "compiling": 5,
    "building the library": 40,
    "linking for the board": 60,
    "running the reference": 70,
    "running on the host": 80,
    "running in the simulator": 80,
    "comparing with the reference": 90,
    "packing": 95,
}
_log = logging.getLogger(__name__)


class Outbox(Protocol):
    """Where a worker's messages go; safe to call from any thread."""

    def tell(self, body: bytes) -> None:
        """Send to the scheduler and return once the broker has it; raises if it has not."""
        ...

    def mention(self, body: bytes) -> None:
        """Send to the scheduler without waiting; it may be lost, and nothing is raised."""
        ...


@dataclass(frozen=True)
class Identity:
    """Who a worker is: its pool, its own name, the version of our part of the work, and of the
    compiler (None for the pool that prepares models).
    """

    pool: str
    worker: str
    service: str
    description: CompilerDescription | None = None


@dataclass(frozen=True)
class Limits:
    """How often a worker says that it lives."""

    heartbeat_seconds: float = 5.0


class PoolWorker:
    """Does one task at a time."""

    def __init__(
        self,
        identity: Identity,
        opener: Opener,
        store: ObjectStore,
        outbox: Outbox,
        limits: Limits = Limits(),
        signer: Callable[[], str] | None = None,
        note: Callable[[Note], None] = lambda note: None,
        trail: Trail | None = None,
    ) -> None:
        """Look for outcomes in `store`; tasks open their own with `opener`, and tell `note` what
        is counted of them.

        `signer` gives the fingerprint of the key that signs our modules: what only another one
        has signed is a task like any other, of which nothing is left to do but to sign it.
        """
        child.preload(*_PRELOADED)
        self._who = identity
        self._opener = opener
        self._store = store
        self._outbox = outbox
        self._limits = limits
        self._signer = signer
        self._note = note
        self._trail: Trail = trail or Untrailed()
        self._lock = threading.Lock()
        self._killed: OrderedDict[str, None] = OrderedDict()
        self._task: PoolTask | None = None
        self._ends: OrderedDict[str, TaskEnd] = OrderedDict()
        self._beat_at = 0.0
        self._leaving = False
        self._giving_up = False
        self.busy_seconds = 0.0
        self.outdated = False  # our compiler was changed: who starts anew has its new description

    def handle(self, body: bytes, deliveries: int = 1) -> TaskEnd:
        """Do the task in `body`, delivered for the `deliveries`-th time, and tell how it ended.

        Raises:
            MalformedMessage: it is no task; to be kept aside, it will never be one.
            Exception: the end could not be told: the message is to be delivered again.
        """
        message = parse(body, TaskSent, MAX_TRUSTED_BYTES)
        task = message.data
        began = time.monotonic()
        with self._lock:
            self._task = task
        self.hello()
        try:
            with self._trail.following(message, deliveries) as trace:
                end = self._ends.get(task.task_id) or self._answer(task, deliveries, trace)
                told = self._event(end, trace.telling(end))
                if len(told) > MAX_TRUSTED_BYTES:  # the scheduler would not read it, and ask on
                    end = self._too_long(end, len(told))
                    told = self._event(end, trace.telling(end))
                self._remember(end)
                self._outbox.tell(told)
        finally:
            with self._lock:
                self._task = None
                self._killed.pop(task.task_id, None)
            self.busy_seconds += time.monotonic() - began
            self.hello()
        return end

    def _event(self, end: TaskEnd, traceparent: str | None) -> bytes:
        return TaskEnded(
            id=f"{end.task_id}-end",
            source=self._source(),
            data=end,
            traceparent=traceparent,
        ).encoded()

    def _too_long(self, end: TaskEnd, size: int) -> TaskEnd:
        """Return a failure in place of an end that no message can carry."""
        reason = f"its result has {size:,} bytes; up to {MAX_TRUSTED_BYTES:,} can be told"
        return TaskEnd(
            task_id=end.task_id,
            action=end.action,
            pool=end.pool,
            worker=end.worker,
            status=TaskStatus.FAILED,
            reasons=(reason,),
            seconds=end.seconds,
            log=end.log,
        )

    def kill(self, body: bytes) -> None:
        """Give up the task that the message names, now or when it comes; or answer a roll call.

        Raises:
            MalformedMessage: it is neither.
        """
        if RollCalled.TYPE.encode() in body:
            parse(body, RollCalled)
            self.hello()
            return
        task_id = parse(body, TaskKilled).data.task_id
        with self._lock:
            self._killed[task_id] = None
            while len(self._killed) > _KILLS_REMEMBERED:
                self._killed.popitem(last=False)

    def _remember(self, end: TaskEnd) -> None:
        """Keep the end of a task whose message may come again: a connection that is lost while it
        runs makes it come once more, to us as likely as to another.
        """
        self._ends[end.task_id] = end
        while len(self._ends) > _ENDS_REMEMBERED:
            self._ends.popitem(last=False)

    def hello(self) -> None:
        """Tell the scheduler that we live and what we do; to be called every few seconds."""
        with self._lock:
            task, self._beat_at = self._task, time.monotonic()
        standing = WorkerStanding(
            pool=self._who.pool,
            worker=self._who.worker,
            service=self._who.service,
            description=self._who.description,
            action=task.action if task else None,
            task_id=task.task_id if task else None,
            leaving=self._leaving and (task is None or self._giving_up),
        )
        name = f"{self._who.worker}-{self._beat_at:.3f}"
        self._mention(WorkerSeen(id=name, source=self._source(), data=standing))

    def leave(self) -> None:
        """Say that nothing more is taken; a running task still ends."""
        self._leaving = True
        self.hello()

    def give_up(self) -> None:
        """Say that we end now, with our task: it goes to another, and has not been our death."""
        self._leaving = self._giving_up = True
        self.hello()

    def _answer(self, task: PoolTask, deliveries: int, trace: Following) -> TaskEnd:
        """Return how `task` ended, without doing it where that is known or must not be."""
        end = TaskEnd(
            task_id=task.task_id,
            action=task.action,
            pool=task.pool,
            worker=self._who.worker,
            status=TaskStatus.DONE,
        )
        if not self._wanted(task):
            return end.model_copy(update={"status": TaskStatus.KILLED})
        try:
            outcome = self._stored(task)
        except (StoreError, RetryableFailure) as error:
            return end.model_copy(update={"status": TaskStatus.RETRY, "reasons": error.reasons})
        if outcome is not None:
            return end.model_copy(update={"outcome": outcome, "cached": True})
        if deliveries > (1 if task.suspect else DELIVERIES):
            reason = f"it was delivered {deliveries - 1} times before and never came to an end"
            return end.model_copy(update={"status": TaskStatus.SUSPECT, "reasons": (reason,)})
        stale = self._stale(task)
        if stale is not None:
            return end.model_copy(update={"status": TaskStatus.STALE, "reasons": (stale,)})
        return self._done(task, deliveries, trace)

    def _wanted(self, task: PoolTask) -> bool:
        with self._lock:
            return task.task_id not in self._killed

    def _stored(self, task: PoolTask) -> Outcome | None:
        """Return the stored outcome of a build if its module is there too, signed by our key."""
        if not isinstance(task.work, BuildTask):
            return None
        try:
            data = self._store.get(keys.action_outcome(task.work.job.compiler, task.action))
            found = Outcome.model_validate_json(data)
        except (ObjectNotFound, ValidationError):
            return None
        if not found.answers(task.work.job.compiler, task.action):
            return None
        archive = found.archive_digest
        return found if archive is None or self._is_signed(archive) else None

    def _is_signed(self, archive: str) -> bool:
        if self._store.head(keys.module_archive(archive)) is None:
            return False
        if self._signer is None:
            return True
        return self._store.head(keys.module_envelope(archive, self._signer())) is not None

    def _stale(self, task: PoolTask) -> str | None:
        """Say why our result would be another than the task's action names, if so."""
        ours = self._who.description
        if task.service != self._who.service:
            return f"worker {self._who.worker} is of another version of tinymlaas"
        if not isinstance(task.work, BuildTask):
            return None
        if ours is None or (ours.version, ours.build) != (task.work.version, task.work.build):
            return f"worker {self._who.worker} has another version of {task.pool}"
        return None

    def _done(self, task: PoolTask, deliveries: int, trace: Following) -> TaskEnd:
        first = TaskStanding(
            task_id=task.task_id,
            action=task.action,
            pool=task.pool,
            worker=self._who.worker,
            attempt=deliveries,
            stage="starting",
        )
        steps = itertools.count(1)

        def told(what: str, tail: str | None) -> None:
            line = _last_line(tail)
            said = {"stage": what, "percent": _PERCENT.get(what), "line": line, "tail": tail}
            event = TaskProgressed(
                id=f"{task.task_id}-{next(steps)}",
                source=self._source(),
                traceparent=trace.traceparent,
                data=first.model_copy(update=said),
            )
            self._mention(event)

        def beat() -> None:
            if time.monotonic() - self._beat_at >= self._limits.heartbeat_seconds:
                self.hello()

        told("starting", None)
        watch = Watch(told, lambda: self._wanted(task), beat, _TAIL_SECONDS, self._note)
        try:
            end, log = run_task(task, self._who.worker, self._opener, watch)
        except (OSError, TinymlaasError) as error:  # no room for its folder, no process: ours
            return self._not_begun(task, error)
        end = checked(end, task, self._who.worker, self._store)
        self.outdated |= end.status is TaskStatus.STALE
        return end.model_copy(update={"log": self._kept(log)})

    def _not_begun(self, task: PoolTask, error: OSError | TinymlaasError) -> TaskEnd:
        """Return the end of a task that this machine could not run; another may, or we later."""
        if isinstance(error, TinymlaasError):
            said = error.reasons
        else:
            said = (error.strerror or str(error),)
        return TaskEnd(
            task_id=task.task_id,
            action=task.action,
            pool=task.pool,
            worker=self._who.worker,
            status=TaskStatus.RETRY,
            reasons=tuple(f"worker {self._who.worker} cannot run it: {each}" for each in said),
        )

    def _kept(self, log: bytes) -> str | None:
        """Store what the tools have said; a log that cannot be kept is no reason to fail."""
        if not log.strip():
            return None
        try:
            self._store.put(keys.blob_of(log), log)
        except StoreError as error:
            _log.warning("a log is not kept", extra={"reasons": error.reasons})
            return None
        return sha256(log)

    def _mention(self, event: Event) -> None:
        self._outbox.mention(event.encoded())

    def _source(self) -> str:
        return f"tinymlaas/workers/{self._who.worker}"


def _last_line(tail: str | None) -> str | None:
    said = [line.strip() for line in (tail or "").split("\n") if line.strip()]
    return said[-1][-_LINE:] if said else None
