"""The user's own signing key, and what to say when it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from storage.key_folder import SigningKey, signing_key
from tinymlaas.settings import Settings


def own_key(settings: Settings) -> SigningKey:
    """Return the development key, making it if there is none.

    Raises:
        StoreError: the key cannot be read or made.
    """
    return signing_key(settings.keys)


class Made(Protocol):
    """A key that may have been made just now: where its halves lie."""

    @property
    def created(self) -> bool:
        """Whether it was."""

    @property
    def private_path(self) -> str | Path:
        """The file of the private key."""

    @property
    def public_path(self) -> str | Path:
        """The file of the public key."""


def notice(key: Made | None) -> tuple[str, ...]:
    """Return what the one who made `key` just now must know; nothing if it was there."""
    if key is None or not key.created:
        return ()
    return (
        f"made a development signing key, {key.private_path} (keep it secret); "
        f"others verify your modules with {key.public_path}",
    )
