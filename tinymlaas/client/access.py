"""One tenant's farm as the client reaches it: store and broker, made when they are needed."""

from __future__ import annotations

import re
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from broker.errors import BrokerError
from broker.looking import looking
from broker.topology import STATUS_KEY, sent_by
from storage import keys
from storage.port import ObjectNotFound
from tinymlaas.client.errors import JobLost, NoScheduler, Refused, UnknownJob
from tinymlaas.client.lines import Key, Lines, is_refusal
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.job_status import JobStatus, status_of_end, status_of_standing
from tinymlaas.contract.messages import (
    JobChanged,
    JobEnded,
    JobName,
    JobStanding,
    StatusAsked,
)
from tinymlaas.farm_settings import FarmSettings

if TYPE_CHECKING:
    from storage.s3 import S3Store

SOURCE = "tinymlaas/client"
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_YOUNG = timedelta(hours=12)  # an uploaded file so young is safe from retention for long enough
# A question may overtake the request it is about, which is in another queue.
_DOUBTS = (0.05, 0.2, 0.5)


class Access:
    """Everything the client's verbs are made of; safe to share between threads."""

    def __init__(self, settings: FarmSettings, patience: float) -> None:
        """Connect to nothing yet.

        Raises:
            BrokerError: the broker's URL is malformed.
        """
        self.settings = settings
        self.patience = patience
        self.lines = Lines(settings.amqp_url, settings.prefix, patience)
        self._guard = threading.Lock()
        self._store: S3Store | None = None

    @property
    def store(self) -> S3Store:
        """The object store. It is not probed as a server's is: a client writes nothing on
        condition.

        Raises:
            StoreError: boto3 is missing, or the endpoint is malformed.
        """
        with self._guard:
            if self._store is None:
                from storage.s3 import reopen_s3

                self._store = reopen_s3(self.settings.bucket, endpoint=self.settings.endpoint)
            return self._store

    def key(self, job_id: str) -> Key:
        """Return the key of the tenant's job.

        Raises:
            UsageError: it is no job's id.
        """
        if not _JOB_ID.fullmatch(job_id):
            raise UsageError(
                f"{job_id[:80]!a} is no job's id: up to 64 of A-Z, a-z, 0-9, _ and -, the first "
                "a letter or digit"
            )
        return self.settings.tenant, job_id

    def upload(self, data: bytes) -> None:
        """Have the store keep a file of the tenant's, young enough to be there when it is needed.

        Raises:
            StoreError: it cannot be written.
        """
        key = keys.tenant_blob(self.settings.tenant, sha256(data))
        written = self.store.written(key)
        if written is None or datetime.now(UTC) - written > _YOUNG:
            self.store.put(key, data)

    def record(self, key: Key) -> JobEnded | None:
        """Return a job's record, None if it has not ended or is unknown.

        Raises:
            JobLost: there is something else in its place.
            StoreError: the store cannot be read.
        """
        try:
            data = self.store.get(keys.job_result(*key))
        except ObjectNotFound:
            return None
        try:
            return JobEnded.model_validate_json(data)
        except ValidationError:
            raise JobLost(
                f"the record of job {key[1]} cannot be read: was it written by a newer version?"
            ) from None

    def end(self, key: Key) -> JobEnded | None:
        """Return how a job ended, as we have heard or as its record says."""
        heard = self.lines.end_of(key)
        if heard is not None and not is_refusal(heard):
            return heard
        return self.record(key)

    def ended(self, event: JobEnded) -> JobStatus:
        """Return the status of an ended job."""
        return status_of_end(event.data, self.settings.bucket)

    def ask(self, key: Key) -> None:
        """Send the question how a job stands; the answer comes to its ears.

        Raises:
            BrokerError: see `Lines.send`.
        """
        name = JobName(tenant=key[0], job_id=key[1], reply=self.lines.reply)
        question = StatusAsked(id=uuid.uuid4().hex, source=SOURCE, data=name)
        self.lines.send(sent_by(key[0], STATUS_KEY), question)

    def status(self, key: Key, seconds: float) -> JobStatus:
        """Return how a job stands or ended: what its record says, else what the scheduler does.

        Raises:
            UnknownJob: neither knows it.
            Refused: its request, sent by this client, was not taken.
            NoScheduler: none has answered within `seconds`.
        """
        for pause in (*_DOUBTS, None):
            end = self.end(key)
            if end is not None:
                return self.ended(end)
            found = self._standing(key, seconds)
            if isinstance(found, JobEnded):
                return self.ended(found)
            if found.state is not None:
                return status_of_standing(found, found.state)
            if pause is not None:
                time.sleep(pause)
        raise self.unknown(key)

    def _standing(self, key: Key, seconds: float) -> JobStanding | JobEnded:
        deadline = time.monotonic() + seconds
        with self.lines.hearing(key, events=False) as ear:
            self.ask(key)
            while (heard := ear.get(deadline - time.monotonic())) is not None:
                if isinstance(heard.event, JobEnded):
                    if not heard.refusal:
                        return heard.event
                elif heard.answer and isinstance(heard.event, JobChanged):
                    return heard.event.data
        raise self.no_scheduler(f"job {key[1]} has not ended")

    def unknown(self, key: Key) -> Refused | UnknownJob:
        """Return the error for a job that neither store nor scheduler know."""
        heard = self.lines.end_of(key)
        if heard is not None and is_refusal(heard):
            return Refused(*heard.data.reasons)
        unread = self._unread()
        more = f"; {unread:,} requests wait in RabbitMQ unread, it may be one of them" * bool(
            unread
        )
        return UnknownJob(
            f"tenant {key[0]} has no job {key[1]}: check the id and --tenant, or the record is "
            f"older than the store keeps it{more}"
        )

    def no_scheduler(self, known: str) -> NoScheduler:
        """Return the error for a silent scheduler; `known` is what can be said all the same."""
        unread = self._unread()
        if unread is None:
            waiting = "requests wait in RabbitMQ until one does"
        else:
            waiting = f"{_requests(unread)} in RabbitMQ for one"
        return NoScheduler(
            f"no scheduler answers: start one ('python -m scheduler'); {known}, {waiting}"
        )

    def _unread(self) -> int | None:
        """Return how many requests no scheduler has taken yet, None if that cannot be told."""
        queue = self.lines.names.compile_requests
        try:
            with looking(self.settings.amqp_url, self.lines.names) as look:
                depth = look.depths([queue]).get(queue)
        except BrokerError:
            return None
        return None if depth is None else depth.ready


def _requests(count: int) -> str:
    if not count:
        return "no request waits"
    return "1 request waits" if count == 1 else f"{count:,} requests wait"
