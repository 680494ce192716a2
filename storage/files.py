"""Files that are whole or absent, whatever kills us and when.

A file is written under a temporary name in the same file system, flushed to the disk, and only
then given its name by one atomic call; the folder is flushed last, so that the name survives a
power cut too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def sync_folder(folder: Path) -> None:
    """Flush the folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Create `folder` and what is missing above it, each 0700 whatever the umask allows."""
    if folder.is_dir():
        return
    make_private_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, PRIVATE_FOLDER)
        sync_folder(folder.parent)


@contextlib.contextmanager
def temporary(folder: Path, data: bytes) -> Iterator[Path]:
    """Write `data` to a new private file in `folder`, flushed; remove it afterwards if still there.

    Raises:
        OSError: it could not be written.
    """
    path = folder / f"{os.getpid()}-{secrets.token_hex(12)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(path, flags, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def replace(target: Path, data: bytes, scratch: Path) -> None:
    """Make `target` hold `data`, in place of whatever was there; `scratch` holds the temporary."""
    with temporary(scratch, data) as source:
        os.replace(source, target)
    sync_folder(target.parent)


def create(target: Path, data: bytes, scratch: Path) -> bool:
    """Make `target` hold `data` unless it exists; True for exactly one of concurrent callers.

    A hard link, unlike a rename, never replaces.
    """
    with temporary(scratch, data) as source:
        try:
            os.link(source, target)
        except FileExistsError:
            return False
    sync_folder(target.parent)
    return True


def read(path: Path) -> bytes:
    """Return the bytes of a regular file; symbolic links are not followed.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the one lock of `folder`; it is free again when its holder ends, however that ends.

    Raises:
        OSError: `folder` cannot be opened, or locked.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
