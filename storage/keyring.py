"""The keyring: which keys may sign for which builders, from when until when, and which never again.

It is JSON in a DSSE envelope, signed by a root key that signs nothing else (as TUF's root role,
with one key: docs/adr/0013-keyring-signed-by-a-root.md). Every change is a new version.

A statement has no time of its own (docs/signing.md), so all times here are compared with the clock
of the verifier at the moment it verifies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic import model_validator as validator

from storage import dsse, strict_json
from storage.archive import shown
from storage.signing import PublicKey, Signer, load_public_key
from storage.verify import TrustedKey
from tinymlaas.contract.base import Model
from tinymlaas.contract.digest import canonical_json
from tinymlaas.contract.errors import VerificationError

KEYRING_TYPE = "application/vnd.tinymlaas.keyring.v1+json"
MAX_KEYRING_BYTES = 1 << 20
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_WHAT = "the keyring"


def whole_second(moment: datetime) -> datetime:
    """Return `moment` in UTC without its fraction: what a keyring can say."""
    return moment.astimezone(UTC).replace(microsecond=0)


def _one_form(value: object) -> object:
    if isinstance(value, datetime):
        return whole_second(value)
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("is no time in UTC to the second, as 2026-01-31T00:00:00Z")
    return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_one_form),
    PlainSerializer(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"), return_type=str),
]


def _is_key(pem: str) -> str:
    _loaded(pem)
    return pem


_Pem = Annotated[str, AfterValidator(_is_key)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Builder = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
_Reason = Annotated[str, Field(min_length=1, max_length=200)]


class KeyStatus(StrEnum):
    """active: signs. retiring: signs no more; what it has signed is accepted until `overlap_end`.
    revoked: whatever it has signed is refused, whenever that was.
    """

    ACTIVE = "active"
    RETIRING = "retiring"
    REVOKED = "revoked"


class KeyEntry(Model):
    """One key, and the builders it may speak for: the named signer-builder pairs.

    `not_after` is the end of an active key's validity, None for no end.
    """

    fingerprint: _Sha256
    public_key: _Pem
    builders: Annotated[tuple[_Builder, ...], Field(min_length=1)]
    not_before: Moment
    not_after: Moment | None = None
    status: KeyStatus = KeyStatus.ACTIVE
    overlap_end: Moment | None = None
    revoked_at: Moment | None = None
    reason: _Reason | None = None

    @validator(mode="after")
    def _whole(self) -> Self:
        if _loaded(self.public_key).fingerprint != self.fingerprint:
            raise ValueError("the fingerprint is not that of the public key")
        retiring, revoked = self.status is KeyStatus.RETIRING, self.status is KeyStatus.REVOKED
        if retiring and self.overlap_end is None:
            raise ValueError("a retiring key has no overlap_end")
        if revoked != (self.revoked_at is not None) or revoked != (self.reason is not None):
            raise ValueError("revoked_at and reason go with a revoked key, and with no other")
        if self.reason is not None and not self.reason.isprintable():
            raise ValueError("the reason is no plain text")
        return self

    @property
    def key(self) -> PublicKey:
        """The key itself."""
        return _loaded(self.public_key)

    def refusal(self, now: datetime) -> str | None:
        """Say why a signature by this key counts for nothing at `now`; None if it counts.

        Revocation comes first: nothing else about the key matters then.
        """
        if self.revoked_at is not None:
            return f"was revoked on {_day(self.revoked_at)}: {self.reason}"
        if now < self.not_before:
            return f"is not valid before {_said(self.not_before)}; the clock here says {_said(now)}"
        if self.overlap_end is not None and now >= self.overlap_end:
            return (
                f"was rotated out, its overlap ended {_said(self.overlap_end)}: have the module "
                "signed anew (compile or fetch it again)"
            )
        if self.not_after is not None and now >= self.not_after:
            return f"was valid until {_said(self.not_after)}; the clock here says {_said(now)}"
        return None


class Keyring(Model):
    """All keys of one farm (or laptop). `root` is the public key (PEM) of who signs the keyring.

    `threshold` is how many distinct keys must have signed a module. Two keyrings are versions of
    the same one if they have the same root.
    """

    format: Literal[1] = 1
    version: Annotated[int, Field(ge=1, le=1 << 53)]
    made: Moment
    root: _Pem
    threshold: Annotated[int, Field(ge=1, le=16)] = 1
    keys: tuple[KeyEntry, ...]

    @validator(mode="after")
    def _distinct(self) -> Self:
        prints = [entry.fingerprint for entry in self.keys]
        if len(set(prints)) != len(prints):
            raise ValueError("a key is named twice")
        if self.root_key.fingerprint in prints:
            raise ValueError("the root key signs the keyring only, and is named for modules too")
        return self

    @property
    def root_key(self) -> PublicKey:
        """The key that signs this keyring."""
        return _loaded(self.root)

    def entry(self, fingerprint: str) -> KeyEntry | None:
        """Return the entry of the key with this fingerprint."""
        return next((entry for entry in self.keys if entry.fingerprint == fingerprint), None)

    def trusted(self, now: datetime) -> tuple[TrustedKey, ...]:
        """Return every key with what is to be said of it at `now`; revoked ones too, so that a
        refusal can name its reason.
        """
        return tuple(
            TrustedKey(entry.key, frozenset(entry.builders), entry.refusal(now))
            for entry in self.keys
        )


def seal_keyring(keyring: Keyring, root: Signer) -> bytes:
    """Return the signed keyring, one line of JSON.

    Raises:
        VerificationError: `root` is not the keyring's root.
    """
    if root.public_key.fingerprint != keyring.root_key.fingerprint:
        raise VerificationError(f"{_WHAT} has another root key than the one at hand")
    return dsse.seal(KEYRING_TYPE, canonical_json(keyring.model_dump(mode="json")), root) + b"\n"


def open_keyring(data: bytes, root: str | None = None) -> Keyring:
    """Return the keyring in `data`, signed by the root it names.

    `root` is the fingerprint that this must have; without it whoever hands over `data` is believed,
    and `storage.seen` is what holds the next version to the same root.

    Raises:
        VerificationError: it is malformed, or not signed by that root.
    """
    envelope = dsse.parse(data.removesuffix(b"\n"))
    claimed = _decode(envelope.payload).root_key  # unverified: only to know which key must verify
    if root is not None and claimed.fingerprint != root:
        raise VerificationError(
            f"{_WHAT} is signed by root sha256:{claimed.fingerprint[:16]}…, not by {root[:16]}…"
        )
    try:
        payload, _ = dsse.open_envelope(data.removesuffix(b"\n"), KEYRING_TYPE, [claimed])
    except VerificationError as error:
        raise VerificationError(f"{_WHAT} is not what its root has signed: {error}") from None
    keyring = _decode(payload)
    if canonical_json(keyring.model_dump(mode="json")) != payload:
        raise VerificationError(f"{_WHAT} is malformed: it is not in the form that we write")
    return keyring


def merged(keyring: Keyring, entries: Iterable[KeyEntry], now: datetime) -> Keyring:
    """Return the next version, in which `entries` stand in place of those of the same keys."""
    changed = {entry.fingerprint: entry for entry in entries}
    kept = [changed.pop(entry.fingerprint, entry) for entry in keyring.keys]
    update = {
        "version": keyring.version + 1,
        "made": whole_second(now),
        "keys": (*kept, *changed.values()),
    }
    return Keyring.model_validate(keyring.model_copy(update=update).model_dump())


def _decode(payload: bytes) -> Keyring:
    value = strict_json.loads(payload, _WHAT)
    found = value.get("format") if isinstance(value, dict) else None
    if isinstance(found, int) and found > 1:
        raise VerificationError(f"{_WHAT} has format {found}, this tinymlaas reads 1: update")
    try:
        return Keyring.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = shown(".".join(str(part) for part in first["loc"])) or "the whole"
        raise VerificationError(f"{_WHAT} is malformed: {where}: {first['msg']}") from None


def _loaded(pem: str) -> PublicKey:
    """Return the key; only its own PEM encoding, for there is to be one text for a key."""
    try:
        key = load_public_key(pem.encode())
    except (VerificationError, UnicodeEncodeError) as error:
        raise ValueError(f"no public key: {error}") from None
    if key.pem.decode() != pem:
        raise ValueError("the public key is not in its canonical PEM form")
    return key


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def _said(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
