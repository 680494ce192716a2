"""Composition of `tinymlaas keys list`: how every key stands now, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from storage import key_folder
from storage.keyring import KeyEntry
from tinymlaas.contract.key_report import KeyRow, KeysReport
from tinymlaas.keyrings import KEYRING_NAME, own_keyring
from tinymlaas.settings import from_environment

_UNLISTED = "unlisted"


def place() -> tuple[Path, datetime]:
    """Return the user's folder of keys, and the time."""
    return from_environment().keys, datetime.now(UTC)


def report(folder: Path, now: datetime, done: tuple[str, ...] = ()) -> KeysReport:
    """Return all keys of the folder's keyring, and those in the folder that it does not name.

    Raises:
        StoreError: a key or the keyring cannot be read.
    """
    keyring = own_keyring(folder)
    here = key_folder.public_keys(folder)
    rows = [
        KeyRow(
            fingerprint=key.fingerprint,
            builders=(builder,),
            status=_UNLISTED,
            standing="signs; no keyring names it",
            signs_here=_private(folder, builder),
        )
        for builder, key in here.items()
        if keyring is None or keyring.entry(key.fingerprint) is None
    ]
    if keyring is None:
        return KeysReport(keys=tuple(rows), done=done)
    signing = {key.fingerprint for b, key in here.items() if _private(folder, b)}
    named = [_row(entry, now, entry.fingerprint in signing) for entry in keyring.keys]
    return KeysReport(
        keyring=str(folder / KEYRING_NAME),
        version=keyring.version,
        root=keyring.root_key.fingerprint,
        threshold=keyring.threshold,
        keys=(*named, *rows),
        done=done,
    )


def _private(folder: Path, builder: str) -> bool:
    return key_folder.private_path(folder, builder).exists()


def _row(entry: KeyEntry, now: datetime, signs_here: bool) -> KeyRow:
    until = entry.overlap_end or entry.not_after
    return KeyRow(
        fingerprint=entry.fingerprint,
        builders=entry.builders,
        status=entry.status.value,
        standing=_standing(entry, now),
        since=_written(entry.not_before),
        until=None if until is None else _written(until),
        signs_here=signs_here,
    )


def _standing(entry: KeyEntry, now: datetime) -> str:
    if entry.revoked_at is not None:
        return f"revoked {entry.revoked_at:%Y-%m-%d}: {entry.reason}"
    if now < entry.not_before:
        return f"valid only from {entry.not_before:%Y-%m-%d %H:%M} UTC"
    if entry.overlap_end is not None:
        if now >= entry.overlap_end:
            return f"rotated out, its overlap ended {entry.overlap_end:%Y-%m-%d}"
        left = _left(entry.overlap_end - now)
        return f"rotated out, accepted until {entry.overlap_end:%Y-%m-%d} ({left})"
    return _active(entry.not_after, now)


def _active(end: datetime | None, now: datetime) -> str:
    if end is None:
        return "signs"
    if now >= end:
        return f"expired {end:%Y-%m-%d}: rotate it"
    return f"signs until {end:%Y-%m-%d} ({_left(end - now)})"


def _left(time: timedelta) -> str:
    if time >= timedelta(days=2):
        return f"{time.days} days left"
    hours = int(time.total_seconds() // 3600)
    return f"{hours} h left" if hours else "less than 1 h left"


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
