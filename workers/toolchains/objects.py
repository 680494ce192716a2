"""Objects kept between builds, each under the digest of all that its making could see.

Only the process outside the sandbox reads and writes here. A job that was led astray can return a
wrong object; since the key covers everything it was given, it is wrong for that same input alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from storage import files
from tinymlaas.contract.errors import ToolchainError


def key_of(words: Sequence[str], contents: Mapping[str, bytes]) -> str:
    """Return the key of what is made by `words` (toolchain, flags, names) of files by path."""
    digest = hashlib.sha256("\0".join(words).encode())
    for path in sorted(contents):
        digest.update(f"\0{path}\0".encode() + hashlib.sha256(contents[path]).digest())
    return digest.hexdigest()


def kept(cache: Path | None, key: str) -> bytes | None:
    """Return the object kept under `key`, None if there is none."""
    if cache is None:
        return None
    try:
        return files.read(_path(cache, key))
    except OSError:
        return None


def keep(cache: Path | None, key: str, made: bytes) -> None:
    """Keep an object under `key`.

    Raises:
        ToolchainError: it cannot be written.
    """
    if cache is None:
        return
    try:
        cache.mkdir(parents=True, exist_ok=True)
        files.replace(_path(cache, key), made, cache)
    except OSError as error:
        reason = error.strerror or error
        raise ToolchainError(f"cannot keep objects in {cache}: {reason}") from None


def _path(cache: Path, key: str) -> Path:
    return cache / f"{key}.o"
