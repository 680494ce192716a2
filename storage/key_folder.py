"""The signing keys in one folder: a private and a public file for each builder.

    development.key, development.pub      of the laptop's builder
    builder-<name>.key, builder-<name>.pub   of ``urn:tinymlaas:builder:<name>:v1``, a pool's
    *.next.key                            the key of a rotation that is under way
    root.key, root.pub                    signs the keyring (`storage.keyring`) and nothing else

Nothing else tells which key a builder signs with, so a signer can be given a folder that holds its
own key alone. Private files are 0600 and appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage import files
from storage.provenance import LOCAL_BUILDER, builder_name, pool_builder
from storage.signing import LocalSigner, PublicKey, load_public_key, load_signer
from tinymlaas.contract.errors import StoreError, UsageError, VerificationError

ROOT = "root"
_DEVELOPMENT = "development"
_PUBLIC_MODE = 0o644
_PUBLIC_FILE = re.compile(r"builder-([a-z][a-z0-9-]{0,31})\.pub")


@dataclass(frozen=True)
class SigningKey:
    """A key in a folder. `created` is True for the one call that made it."""

    signer: LocalSigner
    private_path: Path
    public_path: Path
    created: bool


def private_path(folder: Path, builder: str) -> Path:
    """Return where the private key of `builder` lies, if there is one."""
    return folder / f"{_stem(builder)}.key"


def signing_key(folder: Path, builder: str = LOCAL_BUILDER) -> SigningKey:
    """Return the key that `builder` signs with, making it if there is none.

    Of processes that start at once exactly one makes the key, and all use it.

    Raises:
        StoreError: the key cannot be read or made, or others than its owner may read it.
        UsageError: `builder` is none of ours.
    """
    return _key(folder, _stem(builder))


def root_key(folder: Path) -> SigningKey:
    """Return the key that signs the keyring, making it if there is none; see `signing_key`."""
    return _key(folder, ROOT)


def public_key_of(folder: Path, builder: str = LOCAL_BUILDER) -> PublicKey | None:
    """Return the public key of `builder` without a look at the private one; None without a file.

    Raises:
        StoreError: the file cannot be read or holds no key.
    """
    return _public_file(folder / f"{_stem(builder)}.pub")


def root_public_key(folder: Path) -> PublicKey | None:
    """Return the public key that vouches for this folder's keyring; see `public_key_of`."""
    return _public_file(folder / f"{ROOT}.pub")


def public_keys(folder: Path) -> dict[str, PublicKey]:
    """Return the public keys in `folder` by builder, sorted.

    Raises:
        StoreError: one cannot be read or is no key.
    """
    names = sorted(path.name for path in folder.glob("*.pub")) if folder.is_dir() else []
    found: dict[str, PublicKey] = {}
    for name in names:
        match = _PUBLIC_FILE.fullmatch(name)
        if match is None and name != f"{_DEVELOPMENT}.pub":
            continue
        builder = pool_builder(match.group(1)) if match else LOCAL_BUILDER
        key = _public_file(folder / name)
        if key is not None:
            found[builder] = key
    return found


def next_key(folder: Path, builder: str) -> SigningKey:
    """Return the key that `builder` is to sign with after a rotation; made if there is none yet.

    A rotation that was killed half-way goes on with the key it had made.
    """
    return _key(folder, f"{_stem(builder)}.next", published=False)


def put_next_in_place(folder: Path, builder: str) -> SigningKey:
    """Make the next key the one that `builder` signs with; the one before is gone for good."""
    stem = _stem(builder)
    with _explained(folder / f"{stem}.key"):
        (folder / f"{stem}.next.key").replace(folder / f"{stem}.key")
        files.sync_folder(folder)
    return _key(folder, stem)


def remove_private(folder: Path, builder: str) -> None:
    """Delete the key that `builder` signs with, as it must sign no more."""
    stem = _stem(builder)
    with _explained(folder / f"{stem}.key"):
        (folder / f"{stem}.key").unlink(missing_ok=True)
        (folder / f"{stem}.pub").unlink(missing_ok=True)
        files.sync_folder(folder)


def _stem(builder: str) -> str:
    if builder == LOCAL_BUILDER:
        return _DEVELOPMENT
    name = builder_name(builder)
    if name is None:
        raise UsageError(f"{builder[:80]!a} is no builder of ours: urn:tinymlaas:builder:<name>:v1")
    return f"builder-{name}"


def _key(folder: Path, stem: str, *, published: bool = True) -> SigningKey:
    private, public = folder / f"{stem}.key", folder / f"{stem}.pub"
    with _explained(private):
        created = False
        if not private.exists():
            files.make_private_folder(folder)
            created = files.create(private, LocalSigner.generate().private_pem(), folder)
        pem = files.read(private)
        if stat.S_IMODE(private.stat().st_mode) & 0o077:
            raise StoreError(f"others may read it, run chmod 600 {private}")
        signer = load_signer(pem)
        if published:
            _publish(signer.public_key, public)
    return SigningKey(signer, private, public, created)


def _publish(key: PublicKey, path: Path) -> None:
    """Write the public key's file unless it says that already."""
    if path.exists() and files.read(path) == key.pem:
        return
    files.replace(path, key.pem, path.parent)
    path.chmod(_PUBLIC_MODE)


def _public_file(path: Path) -> PublicKey | None:
    try:
        return load_public_key(files.read(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except VerificationError as error:
        raise StoreError(f"{path}: {error}") from error


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Name the key in whatever goes wrong with it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"cannot use the signing key {path}: {reason}") from error
    except StoreError as error:
        raise StoreError(f"cannot use the signing key {path}: {error}") from error
