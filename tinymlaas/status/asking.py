"""How the farm stands, asked of the active scheduler over the broker, as any client asks.

One in standby serves the same pages in the same way. Whatever is asked again within 1.5 s has
the same answer, so a thousand who look cost the scheduler what one does.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from broker.listener import Listener
from broker.publisher import Message
from broker.topology import STATUS_KEY, Names, sent_by
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.messages import JobChanged, JobName, StatusAsked
from tinymlaas.contract.queue_messages import QueueAsked, QueueQuestion, QueueTold
from tinymlaas.contract.wire import MAX_TRUSTED_BYTES, MalformedMessage, loads, parse
from tinymlaas.status.http import Busy

SOURCE = "tinymlaas/status"
LISTED = 50  # jobs of each kind that are asked for
_FRESH_SECONDS = 1.5
_PATIENCE_SECONDS = 2.0
_SILENT_SECONDS = 15.0  # after which who did not answer is waited for again
_REMEMBERED = 128  # questions of which the last answer is kept
# Different ones: an overview costs the scheduler more, the more jobs are planned.
_OVERVIEWS_A_SECOND, _JOBS_A_SECOND = 5, 20
_log = logging.getLogger(__name__)

Told = QueueTold | JobChanged
Key = tuple[str, ...]  # ("", tenant or "") of an overview, tenant and id of a job


@dataclass(frozen=True)
class Seen:
    """An answer, when it came and how many seconds ago; None if there was none yet. `mark` tells
    one content from another.
    """

    told: Told | None
    mark: str
    at: datetime
    age: float

    @property
    def stale(self) -> bool:
        """Whether nobody has answered for so long that it may be no longer so."""
        return self.age > _FRESH_SECONDS + _PATIENCE_SECONDS + 1


class _Question:
    """One thing that is asked now and again."""

    def __init__(self) -> None:
        self.told: Told | None = None
        self.mark = ""
        self.told_at = self.asked_at = float("-inf")
        self.at = datetime.now(UTC)


class Asking:
    """Asks by `send` and hears by `hear`; safe to share between threads."""

    def __init__(self, send: Callable[[str, bytes], bool], reply: str) -> None:
        """Have `send` send a question under a routing key, and say whether it could be sent; the
        answer comes to the queue `reply`.
        """
        self._send = send
        self._reply = reply
        self._known: OrderedDict[Key, _Question] = OrderedDict()
        self._heard = threading.Condition()
        self._overviews: deque[float] = deque(maxlen=_OVERVIEWS_A_SECOND)
        self._jobs: deque[float] = deque(maxlen=_JOBS_A_SECOND)

    def overview(self, tenant: str | None = None) -> Seen:
        """Return a `QueueTold`, of all tenants or of one.

        Raises:
            Busy: too many different things are asked.
        """

        def question() -> bytes:
            asked = QueueQuestion(reply=self._reply, jobs=LISTED, tenant=tenant)
            return QueueAsked(id=f"page-{tenant or ''}", source=SOURCE, data=asked).encoded()

        return self._answer(("", tenant or ""), STATUS_KEY, question)

    def job(self, tenant: str, job_id: str) -> Seen:
        """Return a `JobChanged`, whose state is None for a job that is not unfinished.

        Raises:
            Busy: too many different things are asked.
        """

        def question() -> bytes:
            name = JobName(tenant=tenant, job_id=job_id, reply=self._reply, details=True)
            return StatusAsked(id=uuid.uuid4().hex, source=SOURCE, data=name).encoded()

        return self._answer((tenant, job_id), sent_by(tenant, STATUS_KEY), question)

    def hear(self, body: bytes, answer: bool) -> None:
        """Take a message of the reply queue; what is none is passed over."""
        try:
            value = loads(body, MAX_TRUSTED_BYTES)
            queue = isinstance(value, dict) and value.get("type") == QueueTold.TYPE
            told: Told = (
                parse(body, QueueTold, MAX_TRUSTED_BYTES)
                if queue
                else parse(body, JobChanged, MAX_TRUSTED_BYTES)
            )
        except MalformedMessage as error:
            _log.warning("a message to the status page is none of the farm's: %s", error)
            return
        if isinstance(told, QueueTold):
            key: Key = ("", told.id.removeprefix("page-"))
        else:
            key = (told.data.tenant, told.data.job_id)
        mark = sha256(told.data.model_dump_json().encode())
        with self._heard:
            question = self._known.get(key)
            if question is not None:
                question.mark = mark
                question.told, question.told_at = told, time.monotonic()
                question.at = datetime.now(UTC)
                self._heard.notify_all()

    def _answer(self, key: Key, routing: str, asked: Callable[[], bytes]) -> Seen:
        with self._heard:
            question = self._known.setdefault(key, _Question())
            self._known.move_to_end(key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            now = time.monotonic()
            unanswered = now - question.asked_at if question.told_at < question.asked_at else 0.0
            silent = _FRESH_SECONDS < unanswered < _SILENT_SECONDS
            ask = now - max(question.told_at, question.asked_at) >= _FRESH_SECONDS
            if ask:
                _count(self._jobs if key[0] else self._overviews, now)
                question.asked_at = now
        sent = self._send(routing, asked()) if ask else True
        with self._heard:
            # An answer under way is waited for, but not one by who has left the last one out.
            left = question.asked_at + _PATIENCE_SECONDS - time.monotonic()
            if sent and not silent and left > 0:
                self._heard.wait_for(lambda: question.told_at >= question.asked_at, left)
            age = max(0.0, time.monotonic() - question.told_at)
            return Seen(question.told, question.mark, question.at, age)


def _count(sent: deque[float], now: float) -> None:
    """Take note of a question, unless it is one too many within a second."""
    if len(sent) == sent.maxlen and now - sent[0] < 1.0:
        raise Busy
    sent.append(now)


class Line:
    """The page's own line to the broker: opened when somebody looks for the first time."""

    def __init__(
        self, url: str, names: Names, publish: Callable[[Message], None], ready: Callable[[], bool]
    ) -> None:
        """Ask by `publish`, while that is `ready`; hear over a connection of our own.

        Raises:
            BrokerError: the URL is malformed.
        """
        self._names = names
        self._publish = publish
        self._ready = ready
        self._guard = threading.Lock()
        self._opened = False
        self._listener = Listener(url, "status page", names.results, self._hear)
        self.asking = Asking(self._send, self._listener.queue)

    def close(self) -> None:
        """End the connection."""
        self._listener.close()

    def _hear(self, body: bytes, answer: bool) -> None:
        self.asking.hear(body, answer)

    def _send(self, key: str, body: bytes) -> bool:
        with self._guard:
            if not self._opened:
                self._opened = True
                self._listener.open()
        if not self._listener.await_ready(_PATIENCE_SECONDS) or not self._ready():
            return False
        reply = self._listener.queue
        self._publish(Message(self._names.requests, key, body, lasting=False, reply_to=reply))
        return True
