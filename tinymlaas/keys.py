"""The user's own signing key, and what to say when it is made."""

from __future__ import annotations

from storage.key_folder import SigningKey, signing_key
from tinymlaas.settings import Settings


def own_key(settings: Settings) -> SigningKey:
    """Return the development key, making it if there is none.

    Raises:
        StoreError: the key cannot be read or made.
    """
    return signing_key(settings.keys)


def notice(key: SigningKey) -> tuple[str, ...]:
    """Return what the one who made `key` just now must know; nothing if it was there."""
    if not key.created:
        return ()
    return (
        f"made a development signing key, {key.private_path} (keep it secret); "
        f"others verify your modules with {key.public_path}",
    )
