"""What clients and the farm say to each other: CloudEvents 1.0 in structured JSON mode.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md. Attributes of
the envelope that are not named here are passed over, as that specification asks; `data` is closed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field, model_validator

from tinymlaas.contract.base import Model
from tinymlaas.contract.compiler import CIdentifier
from tinymlaas.contract.device import DeviceProfile
from tinymlaas.contract.digest import Sha256, sha256
from tinymlaas.contract.quantisation import Activations
from tinymlaas.contract.race import Race
from tinymlaas.contract.report import CandidateStatus, CompileResult, Objective

MAX_INLINE = 48 * 1024 - 1  # bytes of a model or calibration inside a message; others by reference
MAX_FILE_BYTES = 64 * 1024 * 1024  # of an uploaded file; the farm takes no larger ones
_INLINE_CHARACTERS = 4 * (MAX_INLINE // 3 + 1)
LOWEST, HIGHEST = 0, 9

TenantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
JobId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Traceparent = Annotated[str, Field(pattern=r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")]
Priority = Annotated[int, Field(ge=LOWEST, le=HIGHEST)]
BoardName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
CompilerChoice = Annotated[
    str, Field(pattern=r"^(auto|[a-z][a-z0-9-]{0,31}(/[a-z0-9][a-z0-9_-]{0,31})?)$")
]
# Only queues made for answers: a name of ours would have the farm feed its own queues. Nor those of
# RabbitMQ's direct reply-to: by a forged one RabbitMQ ends the connection of whoever publishes.
ReplyQueue = Annotated[
    str, Field(pattern=r"^(reply\.[A-Za-z0-9_.-]{1,120}|amq\.gen-[A-Za-z0-9_-]{1,80})$")
]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}$")]
OptionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
OptionValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,63}$")]
Budget = Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False)]  # seconds
TensorName = Annotated[str, Field(min_length=1, max_length=200)]
Dimension = Annotated[int, Field(ge=1, le=2**31 - 1)]
Shape = Annotated[tuple[Dimension, ...], Field(max_length=8)]


def _written_out(value: object) -> object:
    """Read an RFC 3339 time; refuse seconds, in a string or not, which pydantic would take."""
    if isinstance(value, str) and "T" in value.upper():
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(value.upper())
    if isinstance(value, datetime):
        return value
    raise ValueError("must be an RFC 3339 date and time with its offset")


Deadline = Annotated[AwareDatetime, BeforeValidator(_written_out)]


class JobState(StrEnum):
    """Where a job is; from `done` on it is there for good."""

    QUEUED = "queued"
    PLANNING = "planning"
    COMPILING = "compiling"
    DONE = "done"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"

    @property
    def final(self) -> bool:
        """True if the job has ended."""
        return self not in (JobState.QUEUED, JobState.PLANNING, JobState.COMPILING)


class Event(Model):
    """The envelope. `time` is of sending; `traceparent` is W3C trace context."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())
    TYPE: ClassVar[str]

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]
    source: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
    type: str
    time: AwareDatetime | None = None
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: Traceparent | None = None
    tracestate: Annotated[str, Field(pattern=r"^[ -~]{0,512}$")] | None = None

    def encoded(self) -> bytes:
        """Return the message as it travels."""
        return self.model_dump_json().encode()


class Payload(Model):
    """A file by its SHA-256: `reference` says where the store has it, or `inline` is it, in base64.

    A reference is ``tenants/<tenant>/blobs/<sha256>``, where the tenant has uploaded it; inline
    are files below 48 KiB. `filename` is used in reasons only.
    """

    digest: Sha256
    reference: Annotated[str, Field(max_length=200)] | None = None
    inline: Annotated[str, Field(max_length=_INLINE_CHARACTERS)] | None = None
    filename: FileName = "model"

    @model_validator(mode="after")
    def _whole(self) -> Payload:
        if (self.reference is None) == (self.inline is None):
            raise ValueError("give either reference or inline")
        if self.inline is not None and sha256(self.content()) != self.digest:
            raise ValueError("inline has another SHA-256 than digest says")
        return self

    def content(self) -> bytes:
        """Return the bytes sent inline.

        Raises:
            ValueError: there are none, or they are no base64 or too many.
        """
        try:
            data = base64.b64decode((self.inline or "").encode(), validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise ValueError("inline is not base64") from None
        if not 0 < len(data) <= MAX_INLINE:
            raise ValueError(f"inline has {len(data)} bytes; 1 to {MAX_INLINE} are taken")
        return data

    @staticmethod
    def of(data: bytes, tenant: str, filename: str = "model") -> Payload:
        """Return `data` inline if it is small enough, else by reference to `tenant`'s blob."""
        digest = sha256(data)
        if 0 < len(data) <= MAX_INLINE:
            inline = base64.b64encode(data).decode()
            return Payload(digest=digest, inline=inline, filename=filename)
        return Payload(digest=digest, reference=reference(tenant, digest), filename=filename)


def reference(tenant: str, digest: str) -> str:
    """Return where the store keeps a file that `tenant` has uploaded."""
    return f"tenants/{tenant}/blobs/{digest}"


class Calibration(Model):
    """Quantise the float model with these samples (.npz), and race both; with `only` that alone."""

    samples: Payload
    activations: Activations = Activations.INT8
    only: bool = False


class CompileOrder(Model):
    """What a compile request asks. Exactly one of `board` (a name) and `device` is given.

    `name` prefixes the module's symbols. `compiler` is ``auto``, a name, or a name with kernels.
    `race` says how candidates are compared, where `objective` alone does not. With `first` the
    first verified candidate that keeps the limits ends the job; `budget` seconds after the first of
    its builds was begun it ends with what is there. `data` are labelled samples (.npz) on which
    verified candidates are run; a limit on the accuracy needs them.
    `priority` 9 goes first among the tenant's own jobs. `reply` is a queue that gets the result,
    besides the topic exchange.
    """

    tenant: TenantName
    name: CIdentifier = "model"
    model: Payload
    calibration: Calibration | None = None
    data: Payload | None = None
    board: BoardName | None = None
    device: DeviceProfile | None = None
    compiler: CompilerChoice = "auto"
    objective: Objective = Objective.LATENCY
    race: Race = Race()
    first: bool = False
    budget: Budget | None = None
    shapes: Annotated[dict[TensorName, Shape], Field(max_length=64)] = {}
    options: Annotated[dict[OptionName, OptionValue], Field(max_length=32)] = {}
    priority: Priority = 4
    deadline: Deadline | None = None
    reply: ReplyQueue | None = None

    @model_validator(mode="after")
    def _sound(self) -> CompileOrder:
        if (self.board is None) == (self.device is None):
            raise ValueError("give either board or device")
        if self.race.limits.accuracy is not None and self.data is None:
            raise ValueError("a least accuracy needs labelled samples: give data")
        for payload in self.payloads():
            expected = reference(self.tenant, payload.digest)
            if payload.reference is not None and payload.reference != expected:
                raise ValueError(
                    f"a reference must be tenants/{self.tenant}/blobs/ and the digest: files of "
                    "other tenants and other places are not read"
                )
        return self

    @property
    def float_races(self) -> bool:
        """Whether the model races as it was given."""
        return self.calibration is None or not self.calibration.only

    def payloads(self) -> tuple[Payload, ...]:
        """Return the files the order names."""
        samples = self.calibration.samples if self.calibration else None
        return tuple(each for each in (self.model, samples, self.data) if each is not None)

    def by_reference(self) -> CompileOrder:
        """Return the same order with every file by reference, once the store has them."""
        changes: dict[str, object] = {"model": self._referred(self.model)}
        if self.calibration is not None:
            samples = self._referred(self.calibration.samples)
            changes["calibration"] = self.calibration.model_copy(update={"samples": samples})
        if self.data is not None:
            changes["data"] = self._referred(self.data)
        return self.model_copy(update=changes)

    def _referred(self, payload: Payload) -> Payload:
        where = reference(self.tenant, payload.digest)
        return payload.model_copy(update={"inline": None, "reference": where})


class CompileRequested(Event):
    """A client wants a module. The event's `id` is the job's id, chosen by the client."""

    TYPE: ClassVar[str] = "tinymlaas.compile.request.v1"
    type: Literal["tinymlaas.compile.request.v1"] = "tinymlaas.compile.request.v1"
    id: JobId
    data: CompileOrder


class JobName(Model):
    """One job of a tenant, and where an answer goes; of a question, whether with `JobDetails`."""

    tenant: TenantName
    job_id: JobId
    reply: ReplyQueue | None = None
    details: bool = False


class CancelRequested(Event):
    """A client no longer wants a job."""

    TYPE: ClassVar[str] = "tinymlaas.job.cancel.v1"
    type: Literal["tinymlaas.job.cancel.v1"] = "tinymlaas.job.cancel.v1"
    data: JobName


class StatusAsked(Event):
    """A client asks how a job stands; the answer is a `JobChanged` on its reply queue."""

    TYPE: ClassVar[str] = "tinymlaas.job.query.v1"
    type: Literal["tinymlaas.job.query.v1"] = "tinymlaas.job.query.v1"
    data: JobName


class CandidateStanding(Model):
    """One candidate of an unfinished job: its name in the result's table, how it came out, or None
    while that is open; `running` if it is being built or judged now.
    """

    name: str
    status: CandidateStatus | None = None
    running: bool = False


class JobDetails(Model):
    """What only who looks at one job wants to know: its order, every file by reference, for how
    many seconds it is known, its candidates as they stand, the end of a running task's log.
    """

    order: CompileOrder
    seconds: float
    candidates: tuple[CandidateStanding, ...] = ()
    tail: str | None = None


class JobStanding(Model):
    """How an unfinished job stands.

    `position` counts the jobs that go before it, from 0; `waits_for` says in words what it waits
    for; `estimate_seconds` is a guess from the last builds, None where there is no ground for one.
    `stage`, `percent` and `line` are of the latest progress of anything done for it, which is in
    `pool` and for that `candidate`, as the result's table calls it; None if it is for all of them.
    While candidates are built, `candidates_done` of `candidates_total` have come to their ends.
    `details` are told to those who ask for them.
    """

    tenant: TenantName
    job_id: JobId
    state: JobState | None
    position: int | None = None
    waits_for: tuple[str, ...] = ()
    estimate_seconds: float | None = None
    pool: str | None = None
    candidate: str | None = None
    stage: str | None = None
    percent: int | None = None
    line: str | None = None
    candidates_done: int | None = None
    candidates_total: int | None = None
    reasons: tuple[str, ...] = ()
    details: JobDetails | None = None


class JobChanged(Event):
    """A job's standing has changed, or was asked for; may be lost, and is no record of anything."""

    TYPE: ClassVar[str] = "tinymlaas.job.state.v1"
    type: Literal["tinymlaas.job.state.v1"] = "tinymlaas.job.state.v1"
    data: JobStanding


class JobEnd(Model):
    """How a job ended; `result` is what ``compile --json`` prints, with `module` a store's key.

    `log` names the log of the build that ended it badly, where there is one. `order` is what was
    asked, every file by reference, so that it can be asked again.
    """

    tenant: TenantName
    job_id: JobId
    state: JobState
    reasons: tuple[str, ...] = ()
    result: CompileResult | None = None
    board: str | None = None
    log: Sha256 | None = None
    order: CompileOrder | None = None


class JobEnded(Event):
    """The one final event of a job; a repetition has the same `id`. Also the job's record."""

    TYPE: ClassVar[str] = "tinymlaas.job.result.v1"
    type: Literal["tinymlaas.job.result.v1"] = "tinymlaas.job.result.v1"
    data: JobEnd


def routing_key(tenant: str, job_id: str, state: JobState) -> str:
    """Return the topic under which a job's events are published."""
    return f"{tenant}.{job_id}.{state}"
