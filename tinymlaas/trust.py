"""Whom a user trusts: a keyring, a public key, or the own keys, with the rules that go with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from storage import files, key_folder
from storage.keyring import MAX_KEYRING_BYTES, KeyStatus, open_keyring
from storage.provenance import LOCAL_BUILDER, pool_builder
from storage.seen import check_seen
from storage.verify import TrustedKey, trusted_key
from tinymlaas.contract.errors import StoreError, UsageError, VerificationError
from tinymlaas.inputs import read_input
from tinymlaas.keyrings import own_keyring
from tinymlaas.settings import Settings

MAX_KEY_BYTES = 1 << 16
_SEEN = "seen"


@dataclass(frozen=True)
class Trust:
    """Keys with the builders each may speak for, and how many distinct ones must have signed.

    `remarks` are lines that a user should read.
    """

    trusted: tuple[TrustedKey, ...]
    threshold: int = 1
    remarks: tuple[str, ...] = ()


def own_trust(settings: Settings, now: datetime | None = None) -> Trust:
    """Return what `settings` say: the keyring they name, else the own keys.

    The development key of this user needs no keyring, unless the own keyring says otherwise of it.

    Raises:
        UsageError: there is neither, or the keyring named is not there.
        VerificationError: the keyring named is not sound, or older than one seen before.
        StoreError: the own keys cannot be read.
    """
    now = now or datetime.now(UTC)
    if settings.keyring is not None:
        return keyring_trust(settings, settings.keyring, now=now)
    keyring = own_keyring(settings.keys)
    own = key_folder.public_key_of(settings.keys)
    trusted = () if keyring is None else keyring.trusted(now)
    if own is not None and own not in [entry.key for entry in trusted]:
        trusted = (*trusted, TrustedKey(own, frozenset({LOCAL_BUILDER})))
    if not trusted:
        raise UsageError(
            "you have no signing key yet: name the signer's public key with --key, or a keyring "
            "with --keyring"
        )
    return Trust(trusted, 1 if keyring is None else keyring.threshold)


def keyring_trust(
    settings: Settings, path: Path, *, root: str | None = None, now: datetime | None = None
) -> Trust:
    """Return what the keyring at `path` says; `root` is the fingerprint its root must have.

    The newest version seen is remembered among the user's keys, and an older one refused.

    Raises:
        UsageError: there is no such file, or `root` is no fingerprint.
        VerificationError: it is not sound, by another root, or older than one seen before.
        StoreError: it cannot be remembered.
    """
    data = read_input(path, "keyring", MAX_KEYRING_BYTES)
    wanted = None if root is None else checked_fingerprint(root)
    keyring = open_keyring(data, wanted)
    first = check_seen(settings.keys / _SEEN, keyring, data)
    remarks: tuple[str, ...] = ()
    own = key_folder.root_public_key(settings.keys)
    if first and wanted is None and own != keyring.root_key:
        remarks = (
            f"the keyring {path} is new here: compare its root, {keyring.root_key.fingerprint}, "
            "with what its keeper says (--root checks it)",
        )
    return Trust(keyring.trusted(now or datetime.now(UTC)), keyring.threshold, remarks)


def signers_of(settings: Settings) -> Callable[[str], frozenset[str]]:
    """Return what gives the fingerprints of the keys by which a pool signs now, by its name.

    They are what the keyring in `settings` names for the pool, but for those that retire: what
    these have signed will soon be refused. The file is read each time, for it changes while we run;
    of a pool that it does not name, and without the file, no key is known.

    The function raises StoreError where the keyring cannot be read or is not sound.
    """

    def signers(pool: str) -> frozenset[str]:
        path = settings.keyring
        if path is None:
            return frozenset()
        try:
            keyring = open_keyring(files.read(path))
        except FileNotFoundError:  # a farm that is coming up writes it once all have their keys
            return frozenset()
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
        except VerificationError as error:
            raise StoreError(f"{path}: {error}") from error
        now = datetime.now(UTC)
        return frozenset(
            entry.fingerprint
            for entry in keyring.keys
            if pool_builder(pool) in entry.builders
            and entry.status is KeyStatus.ACTIVE
            and entry.refusal(now) is None
        )

    return signers


def key_trust(path: Path, builders: Sequence[str] = ()) -> Trust:
    """Return the trust in one public key (PEM) for `builders` (default: the local one).

    Raises:
        UsageError: there is no such file, or no such builder.
        VerificationError: it holds no P-256 public key.
    """
    pem = read_input(path, "public key", MAX_KEY_BYTES)
    return Trust((trusted_key(pem, *map(builder_id, builders)),))


def builder_id(text: str) -> str:
    """Return the builder's id, given that or the name of a pool (or ``local``).

    Raises:
        UsageError: it is neither.
    """
    plain = text if ":" in text else pool_builder(text)
    if not plain.isascii() or not plain.isprintable() or " " in plain or len(plain) > 200:
        raise UsageError(f"--builder {text[:80]!a}: give a pool's name or a builder's URI")
    return plain


def checked_fingerprint(text: str) -> str:
    """Return a whole SHA-256 in lower case.

    Raises:
        UsageError: it is none.
    """
    plain = text.lower().removeprefix("sha256:")
    if len(plain) != 64 or set(plain) - set("0123456789abcdef"):
        raise UsageError(f"--root {text[:80]!a}: give the root's whole fingerprint, 64 hex digits")
    return plain
