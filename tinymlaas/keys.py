"""The user's own signing key, and what to say when it is made."""

from __future__ import annotations

from pathlib import Path

from storage import files
from storage.provenance import LOCAL_BUILDER
from storage.signing import (
    PRIVATE_NAME,
    PUBLIC_NAME,
    DevelopmentKey,
    PublicKey,
    development_key,
    load_public_key,
)
from tinymlaas.contract.errors import UsageError
from tinymlaas.settings import Settings


def own_key(settings: Settings) -> DevelopmentKey:
    """Return the development key, making it if there is none.

    Raises:
        StoreError: the key cannot be read or made.
    """
    return development_key(settings.keys)


def existing_public_key(settings: Settings) -> bytes:
    """Return the public half of the development key as PEM.

    Raises:
        UsageError: there is no such key yet.
        StoreError: the key cannot be read.
    """
    if not (settings.keys / PRIVATE_NAME).exists():
        raise UsageError("you have no signing key yet: name the signer's public key with --key")
    return own_key(settings).signer.public_key.pem


def signing_key(folder: Path, builder: str) -> DevelopmentKey:
    """Return the key by which `builder` signs, made if there is none: for the signer's process.

    Raises:
        StoreError: the key cannot be read or made.
    """
    return development_key(_place(folder, builder))


def public_key_of(folder: Path, builder: str) -> PublicKey | None:
    """Return the public half of the builder's key; None if there is no key yet.

    Raises:
        VerificationError: the file holds no public key.
    """
    path = _place(folder, builder) / PUBLIC_NAME
    return load_public_key(files.read(path)) if path.exists() else None


def _place(folder: Path, builder: str) -> Path:
    """Return the builder's folder: a laptop's keys are in `folder` itself."""
    return folder if builder == LOCAL_BUILDER else folder / builder.split(":")[3]


def notice(key: DevelopmentKey) -> tuple[str, ...]:
    """Return what the one who made `key` just now must know; nothing if it was there."""
    if not key.created:
        return ()
    return (
        f"made a development signing key, {key.private_path} (keep it secret); "
        f"others verify your modules with {key.public_path}",
    )
