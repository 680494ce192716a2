"""A keyring with real keys, for tests of trust."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage.keyring import KeyEntry, Keyring, KeyStatus
from storage.provenance import LOCAL_BUILDER
from storage.signing import LocalSigner

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ROOT = LocalSigner.generate()


def entry(signer: LocalSigner, *builders: str, **changes: object) -> KeyEntry:
    key = signer.public_key
    whole: dict[str, object] = {
        "fingerprint": key.fingerprint,
        "public_key": key.pem.decode(),
        "builders": builders or (LOCAL_BUILDER,),
        "not_before": NOW - 30 * DAY,
    }
    return KeyEntry.model_validate(whole | changes)


def retiring(signer: LocalSigner, end: datetime, *builders: str) -> KeyEntry:
    return entry(signer, *builders, status=KeyStatus.RETIRING, overlap_end=end)


def revoked(signer: LocalSigner, *builders: str, **changes: object) -> KeyEntry:
    whole: dict[str, object] = {
        "status": KeyStatus.REVOKED,
        "revoked_at": NOW - DAY,
        "reason": "laptop lost",
    }
    return entry(signer, *builders, **(whole | changes))


def keyring(*entries: KeyEntry, **changes: object) -> Keyring:
    whole: dict[str, object] = {
        "version": 1,
        "made": NOW,
        "root": ROOT.public_key.pem.decode(),
        "keys": entries,
    }
    return Keyring.model_validate(whole | changes)
