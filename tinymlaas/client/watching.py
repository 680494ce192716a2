"""Follow a job to its end: by its events, which may be lost, so by asking and looking as well.

What is heard keeps on coming as long as the connection does, so while the scheduler answers it is
asked less and less often, for what only answers say: a thousand who watch must not cost those who
have work. The store is looked at first of all, and again when an answer does not know the job, or
there is none.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from broker.errors import BrokerUnavailable
from storage.port import StoreUnavailable
from tinymlaas.client.access import Access
from tinymlaas.client.errors import NotFinished, Refused
from tinymlaas.client.lines import Ear, Heard, Key
from tinymlaas.contract.job_status import JobStatus, status_of_standing
from tinymlaas.contract.messages import JobEnded, JobState
from tinymlaas.contract.queue_messages import QueueTold

LOOK_SECONDS = 5.0  # from the first question to the second, and between those that go unanswered
_LONGEST_SECONDS = 180.0  # between two while nothing but progress is heard
_GROWTH = 3.0
ANSWER_SECONDS = 15.0  # a scheduler that takes over for another has answered by then
_DOUBT_SECONDS = 0.2
_DOUBTS = 5


class Watch:
    """One job followed: `statuses` yields every change of it, the last one final."""

    def __init__(self, access: Access, key: Key, accepted: bool, timeout: float | None) -> None:
        """Follow the job for `timeout` seconds, None for as long as it takes.

        `accepted` says that the broker is known to have the request.
        """
        self._access = access
        self._key = key
        self._accepted = accepted
        self._until = None if timeout is None else time.monotonic() + timeout
        self._last: JobStatus | None = None
        self._doubts = 0
        self._epoch = -1
        self._look_at = 0.0
        self._pause = LOOK_SECONDS
        self._asked_at: float | None = None  # what no word has come for since
        self._record = False

    def statuses(self) -> Iterator[JobStatus]:
        """Yield how the job stands whenever that changes; see `Client.watch`."""
        end = self._access.end(self._key)
        if end is not None:
            yield self._access.ended(end)
            return
        if self._accepted:
            self._last = self._queued()
            yield self._last
        with self._access.lines.hearing(self._key, events=True) as ear:
            while True:
                status = self._next(ear)
                if status is None or status == self._last:
                    continue
                self._last = status
                yield status
                if status.final:
                    return

    def _queued(self) -> JobStatus:
        tenant, job_id = self._key
        return JobStatus(job_id=job_id, tenant=tenant, status=JobState.QUEUED)

    def _next(self, ear: Ear) -> JobStatus | None:
        """Return what is known after one more event, question or pause; None for nothing new."""
        if time.monotonic() >= self._look_at or self._access.lines.epoch != self._epoch:
            status = self._look()
            if status is not None:
                return status
        now = time.monotonic()
        until = self._look_at if self._until is None else min(self._look_at, self._until)
        heard = ear.get(until - now)
        if heard is not None:
            self._asked_at = None
            return self._understood(heard)
        if self._until is not None and time.monotonic() >= self._until:
            raise NotFinished(f"job {self._key[1]} has not ended yet; it goes on")
        if self._asked_at is not None and time.monotonic() - self._asked_at >= ANSWER_SECONDS:
            return self._silence()
        return None

    def _look(self) -> JobStatus | None:
        """Ask the scheduler, and where that may not do look for the record as well; what cannot be
        reached now may be later.
        """
        now = time.monotonic()
        again = self._access.lines.epoch != self._epoch or self._asked_at is not None
        self._epoch = self._access.lines.epoch
        self._pause = LOOK_SECONDS if again else min(self._pause * _GROWTH, _LONGEST_SECONDS)
        self._look_at = now + self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - to spread them
        self._asked_at = now if self._asked_at is None else self._asked_at
        record, self._record = self._record or again, False
        try:
            end = self._access.end(self._key) if record else None
            if end is not None:
                return self._access.ended(end)
            self._access.ask(self._key)
        except (BrokerUnavailable, StoreUnavailable) as error:
            if self._last is None:
                raise
            return self._last.model_copy(update={"waits_for": error.reasons})
        return None

    def _silence(self) -> JobStatus:
        if self._last is None:
            raise self._access.no_scheduler(f"job {self._key[1]} has not ended")
        return self._last.model_copy(update={"waits_for": ("a scheduler: none answers now",)})

    def _understood(self, heard: Heard) -> JobStatus | None:
        event = heard.event
        if heard.refusal:
            raise Refused(*event.data.reasons if isinstance(event, JobEnded) else ())
        if isinstance(event, JobEnded):
            return self._access.ended(event)
        if isinstance(event, QueueTold):
            return None
        if event.data.state is None:
            self._doubt()
            return None
        self._doubts = 0
        status = status_of_standing(event.data, event.data.state)
        if self._last is None or self._last.status is not status.status:
            self._pause = LOOK_SECONDS  # what it waits for now only an answer says
            self._look_at = min(self._look_at, time.monotonic() + LOOK_SECONDS)
        if not heard.answer and self._last is not None and self._last.status is status.status:
            # Only answers say what a job waits for.
            kept = ("position", "waits_for", "estimate_seconds")
            return status.model_copy(update={name: getattr(self._last, name) for name in kept})
        return status

    def _doubt(self) -> None:
        """Ask again soon: the question may have overtaken the request, or the end its record."""
        self._record = True
        self._doubts += 1
        if self._doubts > _DOUBTS and not self._accepted:
            raise self._access.unknown(self._key)
        self._look_at = time.monotonic() + _DOUBT_SECONDS * self._doubts
