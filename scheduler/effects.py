"""What the core wants done; `scheduler.service` does it and tells the core how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.ports import Token
from tinymlaas.contract.history import RaceRecord
from tinymlaas.contract.messages import CompileOrder, JobChanged, JobEnded
from tinymlaas.contract.pool_messages import PoolDescription

Key = tuple[str, str]  # tenant and job id


@dataclass(frozen=True, slots=True)
class Ack:
    """The message is dealt with."""

    token: Token


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The message cannot be dealt with and names nobody to tell."""

    token: Token
    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell the sender on `reply`, then acknowledge; dead-letter if the reply cannot be sent."""

    token: Token
    reply: str
    event: JobEnded


@dataclass(frozen=True, slots=True)
class Keep:
    """Store the files that came inside a request; answer with `Core.kept`."""

    key: Key
    files: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the store before planning; answer with `Core.looked`."""

    key: Key
    order: CompileOrder


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask the store for outcomes of `actions`, each with the pool that does it, and for past races
    on a kind of core unless that is None; answer with `Core.found`, or with `Core.recorded` if the
    job has a record and anything would be done.

    Candidates that are found are `judged` by labelled samples yet, which is for workers too.
    """

    key: Key
    actions: Mapping[str, str]
    core: str | None = None
    judged: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send a task to a pool until the broker has it."""

    pool: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Kill:
    """Tell a pool's workers to give up a task."""

    pool: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """Have every worker of a pool say that it lives."""

    pool: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep what is known of a pool; may be lost."""

    told: PoolDescription


@dataclass(frozen=True, slots=True)
class RememberRace:
    """Keep what came of a race on a kind of core; may be lost."""

    core: str
    record: RaceRecord


@dataclass(frozen=True, slots=True)
class Recall:
    """Ask the store what is known of `pools`; answer with `Core.recalled`."""

    pools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish how a job stands, or answer with it on `reply`; may be lost."""

    event: JobChanged
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Send an answer to who has asked; may be lost."""

    reply: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """Save the record, publish the one that is kept, answer with `Core.finished`.

    `log` is a log that the record names and that is not in the store yet.
    """

    key: Key
    event: JobEnded
    replies: tuple[str, ...]
    log: bytes | None = None


Effect = (
    Ack
    | DeadLetter
    | Refuse
    | Keep
    | Look
    | LookUp
    | Send
    | Kill
    | Call
    | Remember
    | RememberRace
    | Recall
    | Announce
    | Answer
    | Finish
)
