"""The newest version that was seen of each keyring: an older one is never accepted again.

One file a keyring, named after its root, holding that version's envelope as it came.
"""

from __future__ import annotations

from pathlib import Path

from storage import files
from storage.keyring import Keyring, open_keyring
from tinymlaas.contract.errors import StoreError, VerificationError


def check_seen(folder: Path, keyring: Keyring, data: bytes) -> bool:
    """Refuse `keyring` (whose envelope is `data`) if a newer version was seen, else remember it.

    Return True if no version of it was seen before.

    Raises:
        VerificationError: it is older than one seen, or another one of the same version.
        StoreError: it cannot be remembered, so that an older one would pass the next time.
    """
    root = keyring.root_key.fingerprint
    path = folder / f"{root}.json"
    try:
        files.make_private_folder(folder)
        with files.locked(folder):
            known = files.read(path) if path.exists() else None
            if known is not None and not _newer(keyring, open_keyring(known, root)):
                return False
            files.replace(path, data, folder)
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(
            f"cannot remember in {folder} which keyring was seen ({reason}): give a folder that "
            "can be written in TINYMLAAS_KEYS"
        ) from error
    return known is None


def _newer(keyring: Keyring, known: Keyring) -> bool:
    """Return whether there is something to remember."""
    if keyring.version < known.version:
        raise VerificationError(
            f"the keyring is version {keyring.version}, and version {known.version} was seen "
            "before: get the newer one, an older one may lack a revocation"
        )
    if keyring.version == known.version and keyring != known:
        raise VerificationError(
            f"there are two keyrings of version {keyring.version} by one root: ask who keeps it"
        )
    return keyring.version > known.version
