"""A client's lines to the broker: what it says, and what it hears of its jobs."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from broker.errors import BrokerError, BrokerUnavailable
from broker.link import Link
from broker.listener import Listener
from broker.looking import looking
from broker.publisher import Message, Publisher
from broker.topology import Names
from tinymlaas.client.ends import Ends
from tinymlaas.contract.base import Model
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.messages import Event, JobChanged, JobEnded
from tinymlaas.contract.queue_messages import QueueTold
from tinymlaas.contract.wire import MAX_TRUSTED_BYTES, MalformedMessage, loads, parse

Key = tuple[str, str]  # tenant and job id, or "" and a question's id
_SLICE_SECONDS = 1.0
_CONFIRM_SECONDS = 5.0
_REFUSAL = "refusal-"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Heard:
    """An event; `answer` if it was sent to us alone."""

    event: JobEnded | JobChanged | QueueTold
    answer: bool

    @property
    def refusal(self) -> bool:
        """Whether it says that a request became no job."""
        return is_refusal(self.event)


def is_refusal(event: Event) -> bool:
    """Whether `event` says that a request became no job; the job of that name may be another's."""
    return event.id.startswith(_REFUSAL)


class Ear:
    """What is heard of one job from when the ear was opened."""

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self.put = self._inbox.put

    def get(self, seconds: float) -> Heard | None:
        """Return the next event, or None if there is none within `seconds`."""
        with contextlib.suppress(queue.Empty):
            return self._inbox.get(timeout=max(0.0, seconds))
        return None


class Lines:
    """One connection to speak and one to hear, both made when first needed and again when lost.

    Safe to share between threads.
    """

    def __init__(self, url: str, prefix: str, patience: float) -> None:
        """Give up on a broker that does not answer for `patience` seconds.

        Raises:
            BrokerError: the URL is malformed.
        """
        self.names = Names(prefix)
        self._url = url
        self._patience = patience
        self._publisher = Publisher(url, "client")
        self._listener = Listener(url, "client-events", self.names.results, self._hear)
        self._guard = threading.Lock()
        self._opened: set[Link] = set()
        self._ears: defaultdict[Key, list[Ear]] = defaultdict(list)
        self._ends = Ends()
        self._closed = False

    @property
    def reply(self) -> str:
        """The queue to which we are answered."""
        return self._listener.queue

    @property
    def epoch(self) -> int:
        """Another number for each connection by which we hear."""
        return self._listener.epoch

    def close(self) -> None:
        """End both connections."""
        with self._guard:
            self._closed = True
            links = list(self._opened)
        for link in links:
            link.close()

    def send(self, key: str, event: Model, *, answered: bool = True) -> None:
        """Publish a request and return when the broker has it. If `answered`, answers are heard.

        Raises:
            BrokerError: the broker does not let us in, has no such exchange or no such queue.
            BrokerUnavailable: it does not answer in time; the request may arrive all the same.
            UsageError: we were closed.
        """
        if answered:
            self._ready(self._listener)
        self._ready(self._publisher)
        body = event.model_dump_json(exclude_none=True).encode()
        message = Message(self.names.requests, key, body, reply_to=self.reply if answered else None)
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._publisher.publish_and_wait(message, min(_CONFIRM_SECONDS, self._patience))
                return
            except BrokerUnavailable:  # a repetition has the same id, and does no harm
                self._diagnose()
                if time.monotonic() >= deadline:
                    raise

    @contextlib.contextmanager
    def hearing(self, key: Key, *, events: bool) -> Iterator[Ear]:
        """Yield an ear for a job: for answers, and if asked for its `events` on the exchange too.

        Raises:
            BrokerError: see `send`.
        """
        ear = Ear()
        topic = f"{key[0]}.{key[1]}.*"
        with self._guard:
            self._ears[key].append(ear)
        try:
            if events:
                self._ready(self._listener)
                self._listener.listen(topic, self._patience)
            try:
                yield ear
            finally:
                if events:
                    self._listener.unlisten(topic)
        finally:
            with self._guard:
                self._ears[key].remove(ear)
                if not self._ears[key]:
                    del self._ears[key]

    def end_of(self, key: Key) -> JobEnded | None:
        """Return how a job ended, or that it was refused, if we have heard that lately."""
        with self._guard:
            return self._ends.get(key)

    def forget_refusal(self, key: Key) -> None:
        """Forget that a request of this name was refused, for another one is sent."""
        with self._guard:
            known = self._ends.get(key)
            if known is not None and is_refusal(known):
                self._ends.forget(key)

    def _ready(self, link: Link) -> None:
        """Wait until `link` is connected; say why if it will not be."""
        self._check_open()
        if link.is_ready:
            return
        with self._guard:
            if link not in self._opened:
                self._opened.add(link)
                link.open()
        deadline = time.monotonic() + self._patience
        while not link.await_ready(min(_SLICE_SECONDS, self._patience)):
            self._check_open()
            problem = self._diagnose()
            if time.monotonic() >= deadline:
                raise problem or BrokerUnavailable("RabbitMQ lets us in but does not serve us")

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this client is closed: make another")

    def _diagnose(self) -> BrokerUnavailable | None:
        """Return why the broker cannot be reached now, None if it can.

        Raises:
            BrokerError: it will not serve us later either; says why.
        """
        try:
            with looking(self._url, self.names) as look:
                look.check()
        except BrokerUnavailable as error:
            return error
        return None

    def _hear(self, body: bytes, answer: bool) -> None:
        """Take a message; what is none is passed over, for anybody may write to a reply queue."""
        event = _event(body)
        if event is None:
            _log.warning("a message to this client is none of the farm's")
            return
        key = ("", event.id) if isinstance(event, QueueTold) else _key(event)
        with self._guard:
            # A refusal by the name of a job that has ended is of another request.
            if isinstance(event, JobEnded) and not (is_refusal(event) and key in self._ends):
                self._ends.put(key, body)
            ears = list(self._ears.get(key, ()))
        for ear in ears:
            ear.put(Heard(event, answer))


_KINDS: dict[str, type[JobEnded] | type[JobChanged] | type[QueueTold]] = {
    kind.TYPE: kind for kind in (JobEnded, JobChanged, QueueTold)
}


def _event(body: bytes) -> JobEnded | JobChanged | QueueTold | None:
    try:
        value = loads(body, MAX_TRUSTED_BYTES)
        kind = _KINDS.get(str(value.get("type"))) if isinstance(value, dict) else None
        return None if kind is None else parse(body, kind, MAX_TRUSTED_BYTES)
    except (MalformedMessage, BrokerError):
        return None


def _key(event: JobEnded | JobChanged) -> Key:
    return event.data.tenant, event.data.job_id
