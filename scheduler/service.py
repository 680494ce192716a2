"""The loop that binds the core to its ports: one thread decides, others wait for the store.

Whatever comes in (a delivery, an answer of the store, a confirm) becomes one call in the inbox; the
loop makes the calls one after the other and then does what the core wants. A store or broker that
does not answer is asked again until it does: meanwhile nothing is acknowledged, so nothing is lost.
"""

from __future__ import annotations

import contextlib
import contextvars
import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from scheduler import effects as do
from scheduler.budget import Budget
from scheduler.core import Core
from scheduler.intake import Intake
from scheduler.ports import (
    Clock,
    Confirmed,
    Delivery,
    EventPublisher,
    Library,
    PoolSender,
    Source,
    Token,
)
from tinymlaas.contract.errors import TinymlaasError
from tinymlaas.contract.messages import JobEnded, routing_key
from tinymlaas.log_context import bound

_log = logging.getLogger(__name__)
_TICK_SECONDS = 1.0
_BATCH = 256
_LETTER_SECONDS = 1.0
_FIRST_RETRY_SECONDS = 0.1
_MAX_RETRY_SECONDS = 5.0
_REPLY_TRIES = 15  # a minute: a client's queue may be one that takes nothing

T = TypeVar("T")


class Role(Enum):
    """What comes from a queue: clients' requests, their questions and cancels, workers' words."""

    REQUESTS = "requests"
    CONTROL = "control"
    WORKERS = "workers"


@dataclass(frozen=True)
class Ports:
    """Everything outside.

    `roles` says what comes under each name that the source's tokens bear. It is by the queue that a
    message is believed: what a client sends can never pass for a worker's word.
    `memory` is the library as far as it need not ask the store: see `NotRemembered`.
    """

    source: Source
    roles: Mapping[str, Role]
    pools: PoolSender
    events: EventPublisher
    library: Library
    clock: Clock
    memory: Library | None = None


class Service:
    """One scheduler. `run` returns when it is told to stop; killed, it leaves nothing undone."""

    def __init__(
        self, core: Core, ports: Ports, service: str, threads: int = 16, name: str = ""
    ) -> None:
        """Have up to `threads` calls wait for the store at a time.

        `service` is the version of our part of the work, as inspections are kept under it; `name`
        is what people who look are told that we are called.
        """
        self._core = core
        self._ports = ports
        self._version = service
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._store = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="store")
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stopping = threading.Event()
        self.budget = Budget()
        self._words = Budget()  # cancels and what workers say never wait for the store
        self._taken = 0
        intake = Intake(core, name)
        self._takers: dict[Role, Callable[[Delivery], None]] = {
            Role.REQUESTS: core.request,
            Role.CONTROL: intake.control,
            Role.WORKERS: intake.pool_event,
        }
        self.last_turn = self._tick_at = ports.clock.seconds()
        self.failed = False

    def stop(self) -> None:
        """Have `run` return soon. May be called by any thread or signal handler."""
        self._stopping.set()
        self._close_budgets()
        self._inbox.put(lambda: None)

    def _close_budgets(self) -> None:
        self.budget.close()
        self._words.close()

    def run(self) -> None:
        """Schedule until `stop`. What is unfinished then stays in the broker for the next one.

        A fault of the core's ends it too, with `failed` set: its state may be half changed, and
        the next scheduler begins with what broker and store have, which is sound. What the core
        has stumbled over goes to the dead letters, so that the next one does not.
        """
        ports = self._ports
        ports.source.start(self._deliver, lambda: self._inbox.put(self._core.activated))
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception as error:
                self._stumbled(error)
        self._close_budgets()
        ports.source.stop()
        self._store.shutdown(wait=True, cancel_futures=True)

    def _turn(self) -> None:
        now = self.last_turn = self._ports.clock.seconds()
        if now >= self._tick_at:
            self._core.tick()
            self._tick_at = now + _TICK_SECONDS
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()
        self._do_all()
        self._calls(min([self._tick_at, *(self._later[0][:1] if self._later else ())]) - now)

    def _calls(self, seconds: float) -> None:
        """Wait up to `seconds` for calls, then make those that are there."""
        try:
            self._inbox.get(timeout=max(seconds, 0.001))()
            for _ in range(_BATCH):
                self._inbox.get_nowait()()
        except queue.Empty:
            pass

    def _do_all(self) -> None:
        while effects := self._core.drain():
            for effect in effects:
                key = getattr(effect, "key", None)
                with bound(self._core.about(key) if key else {}):
                    self._do(effect)
        taken, self._taken = self._taken, 0
        self.budget.release(taken)  # not before: what came inside counts until it is stored

    def _deliver(self, delivery: Delivery) -> None:
        """Take a message from the source's thread, which waits while we hold too much."""
        role = self._ports.roles[delivery.token.source]
        budget = self.budget if role is Role.REQUESTS else self._words
        if budget.admit(len(delivery.body)):
            self._inbox.put(partial(self._take, delivery, role))

    def _take(self, delivery: Delivery, role: Role) -> None:
        """Have the core take a message."""
        if role is Role.REQUESTS:
            self._taken += len(delivery.body)
        else:
            self._words.release(len(delivery.body))
        if self.failed:
            return
        try:
            self._takers[role](delivery)
        except Exception as error:
            self._stumbled(error, delivery.token)

    def _stumbled(self, error: Exception, *tokens: Token) -> None:
        """End for a fault; what it came of, `tokens` and requests, must not come again for ever."""
        at_hand = [f"{tenant}/{job_id}" for tenant, job_id in self._core.at_fault]
        _log.exception("a fault of the scheduler, which ends", extra={"jobs": at_hand})
        self.failed = True
        self._stopping.set()
        jobs = (token for key in self._core.at_fault for token in self._core.tokens_of(key))
        for token in dict.fromkeys((*tokens, *jobs)):
            reason = f"a fault of the scheduler: {type(error).__name__}"
            self._ports.source.dead_letter(token, reason)
        time.sleep(_LETTER_SECONDS)  # what is not out by then comes to the next one again

    # Effects

    def _do(self, effect: do.Effect) -> None:
        ports = self._ports
        match effect:
            case do.Ack(token):
                ports.source.ack(token)
            case do.DeadLetter(token, reason):
                ports.source.dead_letter(token, reason)
            case do.Refuse():
                ports.events.reply(
                    effect.reply, effect.event.encoded(), self._back(self._refused, effect)
                )
            case do.Keep():
                self._keep(effect)
            case do.Look(key, order):
                self._recall(
                    lambda library: library.look(key[0], key[1], order, self._version),
                    lambda facts: self._core.looked(key, facts),
                )
            case do.LookUp():
                self._recall(partial(self._known, effect), lambda answer: answer())
            case do.RememberRace(core, record):
                self._try(lambda: ports.library.keep_race(core, record))
            case do.Send() | do.Kill() | do.Call() | do.Remember() | do.Recall():
                self._do_for_pools(effect)
            case do.Announce():
                self._announce(effect)
            case do.Answer(reply, body):
                ports.events.reply(reply, body)
            case do.Finish():
                self._ask(
                    lambda: ports.library.save(effect.event, effect.log),
                    lambda kept: self._saved(effect, kept),
                )

    def _keep(self, effect: do.Keep) -> None:
        key, size = effect.key, sum(map(len, effect.files))
        self.budget.add(size)

        def kept(_: None) -> None:
            self.budget.release(size)
            self._core.kept(key)

        library = self._ports.library
        self._ask(lambda: library.keep(key[0], effect.files), kept)

    def _do_for_pools(self, effect: do.Send | do.Kill | do.Call | do.Remember | do.Recall) -> None:
        ports = self._ports
        match effect:
            case do.Send():
                self._send(effect)
            case do.Kill(pool, body) | do.Call(pool, body):
                ports.pools.kill(pool, body)
            case do.Remember(told):
                self._ask(lambda: ports.library.remember(told), lambda _: None)
            case do.Recall(pools):
                self._ask(lambda: ports.library.pools(pools), self._core.recalled)

    def _known(self, wanted: do.LookUp, library: Library) -> Callable[[], None]:
        """Return what the core is to be told. A job that has ended is found out before workers do
        anything for it; where they need not, keeping its record tells, with one call less.
        """
        key = wanted.key
        outcomes = library.outcomes(wanted.actions)
        whole = len(outcomes) == len(wanted.actions)
        record = library.record(*key) if wanted.judged or not whole else None
        if record is not None:
            return partial(self._core.recorded, key, record)
        races = () if whole or wanted.core is None else library.races(wanted.core)
        return partial(self._core.found, key, outcomes, races)

    def _announce(self, effect: do.Announce) -> None:
        standing, body = effect.event.data, effect.event.encoded()
        if effect.reply is not None:
            self._ports.events.reply(effect.reply, body)
        elif standing.state is not None:
            key = routing_key(standing.tenant, standing.job_id, standing.state)
            self._ports.events.publish(key, body)

    def _refused(self, effect: do.Refuse, error: Exception | None) -> None:
        source = self._ports.source
        if error is None:
            source.ack(effect.token)
        else:
            source.dead_letter(effect.token, "; ".join(effect.event.data.reasons))

    def _send(self, effect: do.Send, tries: int = 0) -> None:
        def confirmed(error: Exception | None) -> None:
            if error is not None:
                _log.warning("task not sent", extra={"to": effect.pool, **_because(error)})
                self._again(tries, lambda: self._send(effect, tries + 1))

        self._ports.pools.send(effect.pool, effect.body, self._back(confirmed))

    def _saved(self, effect: do.Finish, kept: JobEnded) -> None:
        if self._core.saved(effect.key, kept):
            self._tell(effect, kept)

    def _tell(self, effect: do.Finish, kept: JobEnded, tries: int = 0) -> None:
        """Publish the record that is kept, until the broker has it, then send it to who asked."""

        def confirmed(error: Exception | None) -> None:
            if error is not None:
                _log.warning("the end of a job is not published", extra=_because(error))
                self._again(tries, lambda: self._tell(effect, kept, tries + 1))
                return
            self._reply(effect, kept, ())

        end, body = kept.data, kept.encoded()
        key = routing_key(end.tenant, end.job_id, end.state)
        self._ports.events.publish(key, body, self._back(confirmed))

    def _reply(
        self, effect: do.Finish, kept: JobEnded, told: tuple[str, ...], tries: int = 0
    ) -> None:
        """Send the record to the next queue that is to get it, until the broker has it or says that
        there is no such queue: a client that has gone finds it in the store. Then the job is over.

        Whoever has sent the same request meanwhile gets it too, as it comes to us no more.
        """
        left = [r for r in (*effect.replies, *self._core.replies_of(effect.key)) if r not in told]
        if not left:
            self._core.finished(effect.key, kept.data.state)
            return

        def answered(error: Exception | None) -> None:
            passing = isinstance(error, TinymlaasError) and error.retryable
            if not passing or tries >= _REPLY_TRIES:
                self._reply(effect, kept, (*told, left[0]))
                return
            _log.warning("the end of a job is not sent to its client", extra=_because(error))
            self._again(tries, lambda: self._reply(effect, kept, told, tries + 1))

        self._ports.events.reply(left[0], kept.encoded(), self._back(answered))

    # Waiting for others

    def _back(self, function: Callable[..., None], *arguments: Any) -> Confirmed:
        """Return a function for any thread that has the loop call `function`."""
        here = contextvars.copy_context()  # what logs say is for whom
        return lambda error: self._inbox.put(partial(here.run, function, *arguments, error))

    def _recall(self, ask: Callable[[Library], T], answer: Callable[[T], None]) -> None:
        """As `_ask`, of the library, but without another thread where the store need not be asked:
        two threads that take turns in Python cost more than what they do.
        """
        memory, library = self._ports.memory, self._ports.library
        if memory is not None:
            with contextlib.suppress(Exception):  # `NotRemembered`; all else is told by `_ask`
                found = partial(contextvars.copy_context().run, answer, ask(memory))
                self._inbox.put(found)
                return
        self._ask(lambda: ask(library), answer)

    def _ask(self, ask: Callable[[], T], answer: Callable[[T], None], tries: int = 0) -> None:
        """Call `ask` in another thread and `answer` with what it returns in the loop."""
        here, there = contextvars.copy_context(), contextvars.copy_context()

        def asked() -> None:
            try:
                found = ask()
            except Exception as error:  # only the store can fail here, and then nothing is lost
                _log.warning("the store does not answer", extra=_because(error))
                again = partial(self._ask, ask, answer, tries + 1)
                self._inbox.put(partial(here.run, self._again, tries, again))
            else:
                self._inbox.put(partial(here.run, answer, found))

        self._store.submit(there.run, asked)

    def _try(self, what: Callable[[], None]) -> None:
        """Call `what` in another thread, once: nothing depends on it."""

        def tried() -> None:
            try:
                what()
            except Exception as error:
                _log.warning("the store does not take it", extra=_because(error))

        self._store.submit(contextvars.copy_context().run, tried)

    def _again(self, tries: int, what: Callable[[], None]) -> None:
        wait = min(_FIRST_RETRY_SECONDS * 2**tries, _MAX_RETRY_SECONDS)
        at = self._ports.clock.seconds() + wait
        here: Callable[[], None] = partial(contextvars.copy_context().run, what)
        heapq.heappush(self._later, (at, next(self._order), here))


def _because(error: Exception | None) -> dict[str, str]:
    return {"reason": str(error)}
