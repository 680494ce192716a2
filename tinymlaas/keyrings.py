"""Keep the own keyring: make, rotate and revoke keys, and publish what others need to verify.

One file, ``keyring.json`` in the folder of keys, is what was decided; it is replaced in one step,
under the folder's lock, before anything follows from it. A command that was killed half-way is
finished by giving it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from storage import files, key_folder
from storage.keyring import (
    KeyEntry,
    Keyring,
    KeyStatus,
    merged,
    open_keyring,
    seal_keyring,
    whole_second,
)
from storage.signing import PublicKey
from tinymlaas.contract.errors import StoreError, UsageError, VerificationError

KEYRING_NAME = "keyring.json"
_PUBLIC_MODE = 0o644
_SHORTEST_PREFIX = 8


@dataclass(frozen=True)
class Changed:
    """The keyring after a change, and what was done, in lines for people."""

    keyring: Keyring
    done: tuple[str, ...]


def own_keyring(folder: Path) -> Keyring | None:
    """Return the keyring in `folder`, signed by the root beside it; None if there is none.

    Raises:
        StoreError: it cannot be read, or is not what that root signed.
    """
    path = folder / KEYRING_NAME
    try:
        data = files.read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    root = key_folder.root_public_key(folder)
    if root is None:
        raise StoreError(f"{folder / 'root.pub'} is missing: {path} is signed by it")
    try:
        return open_keyring(data, root.fingerprint)
    except VerificationError as error:
        raise StoreError(f"{path}: {error}") from error


def adopt(folder: Path, now: datetime | None = None) -> Path:
    """Name every key of `folder` in its keyring, made if there is none; return the keyring's path.

    A key that the keyring names already, in whatever status, stays as it is.

    Raises:
        StoreError: a key or the keyring cannot be read or written.
    """
    with _locked(folder):
        _adopted(folder, now or datetime.now(UTC))
    return folder / KEYRING_NAME


def new(folder: Path, builder: str, valid: timedelta | None, now: datetime) -> Changed:
    """Make a key for `builder` and name it; one that is there but not named is named.

    Raises:
        UsageError: the builder has a key that is named.
        StoreError: see `adopt`.
    """
    with _locked(folder):
        key = key_folder.signing_key(folder, builder)
        keyring = own_keyring(folder)
        if keyring is not None and (entry := keyring.entry(key.signer.public_key.fingerprint)):
            raise UsageError(
                f"{builder} has key {entry.fingerprint[:16]}… ({entry.status}) already: "
                "'tinymlaas keys rotate' puts another in its place"
            )
        entry = _entry(key.signer.public_key, builder, now, valid)
        keyring = _adopted(folder, now, [entry])
        how = "made" if key.created else "named"
        return Changed(keyring, (f"{how} key {entry.fingerprint[:16]}… of {builder}",))


def add(
    folder: Path, key: PublicKey, builder: str, valid: timedelta | None, now: datetime
) -> Changed:
    """Name a key that was made elsewhere, by its public half, or let a named one speak for more.

    Raises:
        UsageError: the key is the root, or signs no more.
        StoreError: see `adopt`.
    """
    with _locked(folder):
        keyring = _adopted(folder, now)
        entry = keyring.entry(key.fingerprint)
        if key.fingerprint == keyring.root_key.fingerprint:
            raise UsageError("that is the root key: it signs the keyring and nothing else")
        if entry is not None and entry.status is not KeyStatus.ACTIVE:
            raise UsageError(f"key {key.fingerprint[:16]}… is {entry.status} and stays so")
        if entry is None:
            entry = _entry(key, builder, now, valid)
        else:
            builders = tuple(dict.fromkeys((*entry.builders, builder)))
            entry = entry.model_copy(update={"builders": builders})
        if entry != keyring.entry(key.fingerprint):
            keyring = merged(keyring, [entry], now)
            _save(folder, keyring)
        return Changed(keyring, (f"key {key.fingerprint[:16]}… may sign for {builder}",))


def rotate(
    folder: Path, builder: str, overlap: timedelta, valid: timedelta | None, now: datetime
) -> Changed:
    """Put a new key in the place of the builder's; what the old signed is accepted for `overlap`.

    Other keys that sign for the builder, those of a second signer elsewhere, go on as they are.

    Raises:
        UsageError: the builder has no key.
        StoreError: see `adopt`.
    """
    with _locked(folder):
        if not key_folder.private_path(folder, builder).exists():
            raise UsageError(f"{builder} has no key here: 'tinymlaas keys new' makes one")
        # Read by its private half: its public file may be behind.
        replaced = key_folder.signing_key(folder, builder).signer.public_key.fingerprint
        keyring = _adopted(folder, now)
        fresh = key_folder.next_key(folder, builder).signer.public_key
        if keyring.entry(fresh.fingerprint) is None:
            end = whole_second(now + overlap)
            active = [each for each in keyring.keys if each.status is KeyStatus.ACTIVE]
            old = [_retiring(each, end) for each in active if each.fingerprint == replaced]
            keyring = merged(keyring, [*old, _entry(fresh, builder, now, valid)], now)
            _save(folder, keyring)
        key_folder.put_next_in_place(folder, builder)
        ends = [e.overlap_end for e in keyring.keys if builder in e.builders and e.overlap_end]
        until = f"; what the old one signed is accepted until {max(ends):%Y-%m-%d %H:%M} UTC"
        done = f"key {fresh.fingerprint[:16]}… signs for {builder} now{until if ends else ''}"
        return Changed(keyring, (done,))


def revoke(folder: Path, fingerprint: str, reason: str, now: datetime) -> Changed:
    """Refuse from now on all that a key ever signed, and delete its private half if it is here.

    `fingerprint` may be shortened to what tells it from the others, 8 digits at least.

    Raises:
        UsageError: there is no such key, or more than one, or it is revoked, or the root.
        StoreError: see `adopt`.
    """
    reason = " ".join(reason.split())
    if not reason or not reason.isprintable() or len(reason) > 200:
        raise UsageError("--reason: say in one line of at most 200 characters why")
    with _locked(folder):
        keyring = _adopted(folder, now)
        entry = _found(keyring, fingerprint.lower().removeprefix("sha256:"))
        if entry.status is not KeyStatus.REVOKED:
            update = {"revoked_at": now, "reason": reason, "status": KeyStatus.REVOKED}
            entry = KeyEntry.model_validate({**dict(entry), **update})
            keyring = merged(keyring, [entry], now)
            _save(folder, keyring)
        done = [f"revoked key {entry.fingerprint[:16]}… of {', '.join(entry.builders)}"]
        done += [said for builder in entry.builders if (said := _too_few(keyring, builder, now))]
        for builder, public in key_folder.public_keys(folder).items():
            if public.fingerprint == entry.fingerprint:
                key_folder.remove_private(folder, builder)
                done.append(
                    f"deleted its private half; 'tinymlaas keys new --builder {builder}' makes "
                    "another"
                )
        return Changed(keyring, tuple(done))


def set_threshold(folder: Path, threshold: int, now: datetime) -> Changed:
    """Ask for signatures by `threshold` distinct keys from now on.

    Raises:
        UsageError: that is more than there are keys that sign.
        StoreError: see `adopt`.
    """
    with _locked(folder):
        keyring = _adopted(folder, now)
        active = sum(entry.status is KeyStatus.ACTIVE for entry in keyring.keys)
        if not 1 <= threshold <= active:
            raise UsageError(f"{threshold} keys cannot be asked for: {active} are active")
        if threshold != keyring.threshold:
            keyring = merged(keyring, (), now).model_copy(update={"threshold": threshold})
            _save(folder, keyring)
        return Changed(keyring, (f"a module needs signatures by {threshold} distinct keys now",))


def _adopted(folder: Path, now: datetime, entries: Iterable[KeyEntry] = ()) -> Keyring:
    """Return the keyring with `entries`, and all keys of the folder that it lacked, written."""
    keyring = own_keyring(folder)
    added = {entry.fingerprint: entry for entry in entries}
    for builder, public in key_folder.public_keys(folder).items():
        if keyring is None or keyring.entry(public.fingerprint) is None:
            added.setdefault(public.fingerprint, _entry(public, builder, now, None))
    if keyring is None:
        root = key_folder.root_key(folder).signer.public_key.pem.decode()
        keyring = Keyring(version=1, made=whole_second(now), root=root, keys=tuple(added.values()))
    elif added:
        keyring = merged(keyring, added.values(), now)
    else:
        return keyring
    _save(folder, keyring)
    return keyring


def _save(folder: Path, keyring: Keyring) -> None:
    """Sign the keyring and put it in place of the one before, in one step.

    Raises:
        StoreError: it cannot be written, or the root key is not here.
    """
    path = folder / KEYRING_NAME
    if not (folder / "root.key").exists():
        raise StoreError(f"{folder / 'root.key'} is not here, and only it can sign {path}")
    data = seal_keyring(keyring, key_folder.root_key(folder).signer)
    files.replace(path, data, folder)
    path.chmod(_PUBLIC_MODE)


def _entry(key: PublicKey, builder: str, now: datetime, valid: timedelta | None) -> KeyEntry:
    return KeyEntry(
        fingerprint=key.fingerprint,
        public_key=key.pem.decode(),
        builders=(builder,),
        not_before=whole_second(now),
        not_after=None if valid is None else whole_second(now + valid),
    )


def _too_few(keyring: Keyring, builder: str, now: datetime) -> str:
    """Return what to say where fewer keys sign for `builder` than are asked for; empty if not."""
    signing = sum(
        builder in each.builders and each.status is KeyStatus.ACTIVE and each.refusal(now) is None
        for each in keyring.keys
    )
    if signing >= keyring.threshold:
        return ""
    return (
        f"warning: for {builder} sign {signing} keys, and a module needs {keyring.threshold}: what "
        "it builds is refused until 'tinymlaas keys new' or 'keys add' names more"
    )


def _retiring(entry: KeyEntry, end: datetime) -> KeyEntry:
    update = {"status": KeyStatus.RETIRING, "overlap_end": end}
    return KeyEntry.model_validate({**dict(entry), **update})


def _found(keyring: Keyring, prefix: str) -> KeyEntry:
    if keyring.root_key.fingerprint.startswith(prefix) and len(prefix) >= _SHORTEST_PREFIX:
        raise UsageError(
            "that is the root key: nobody stands above it to revoke it; docs/signing.md says how "
            "to begin anew"
        )
    found = [entry for entry in keyring.keys if entry.fingerprint.startswith(prefix)]
    if len(prefix) < _SHORTEST_PREFIX or len(found) != 1:
        what = "no key" if not found else "more than one key"
        short = len(prefix) < _SHORTEST_PREFIX
        said = f"give {_SHORTEST_PREFIX} digits at least" if short else f"{what} begins so"
        raise UsageError(f"{prefix[:80]!a}: {said}; 'tinymlaas keys list' shows them")
    return found[0]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; whatever the disk refuses is said of the folder."""
    try:
        files.make_private_folder(folder)
        with files.locked(folder):
            yield
    except OSError as error:
        raise StoreError(f"cannot write into {folder}: {error.strerror or error}") from error
