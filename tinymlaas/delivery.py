"""Write a module and its provenance where the user wants them: both whole, or neither changed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from storage.provenance import envelope_name
from tinymlaas.contract.errors import UsageError


def check_directory(directory: Path) -> None:
    """Make `directory` if it is missing, before any long work.

    Raises:
        UsageError: it cannot be made, is no folder, or cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write into {directory}: {error.strerror or error}") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write into {directory}: permission denied")


def deliver(archive: bytes, envelope: bytes, path: Path) -> Path:
    """Write `archive` to `path` and `envelope` beside it; return `path`.

    Each file appears whole. The old envelope goes first, so that at no moment an archive lies
    beside provenance of another one that could be taken for its own.

    Raises:
        UsageError: the folder cannot be written.
    """
    beside = path.with_name(envelope_name(path.name))
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tinymlaas-") as folder:
            parts = [(Path(folder, "module"), archive, path), (Path(folder, "e"), envelope, beside)]
            for temporary, content, _ in parts:
                temporary.write_bytes(content)
            beside.unlink(missing_ok=True)
            for temporary, _, final in parts:
                os.replace(temporary, final)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
    return path
