"""Write a module and its provenance where the user wants them, each file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from storage.provenance import envelope_name
from tinymlaas.contract.errors import Failure, UsageError
from workers import guardian


def check_directory(directory: Path) -> None:
    """Refuse a `directory` that cannot be written or made, before any long work; make nothing.

    Raises:
        UsageError: it, or what there is of the path to it, is no folder or cannot be written, or
            its name cannot be reported, being no text.
    """
    try:
        str(directory).encode()
    except UnicodeEncodeError:
        raise UsageError(f"cannot write into {directory}: its name is not UTF-8 text") from None
    there = directory.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UsageError(f"cannot write into {directory}: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write into {directory}: permission denied")


def deliver(archive: bytes, envelope: bytes, path: Path) -> None:
    """Write `archive` to `path` and `envelope` beside it, in a folder that is made if need be.

    The old envelope goes first, so that at no moment an archive lies beside provenance of another
    one that could be taken for its own.

    Raises:
        Failure: they cannot be written; `check_directory` had found no reason why.
    """
    beside = path.with_name(envelope_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with guardian.scratch("delivery", path.parent) as folder:
            parts = [(folder / "module", archive, path), (folder / "envelope", envelope, beside)]
            for temporary, content, _ in parts:
                temporary.write_bytes(content)
            beside.unlink(missing_ok=True)
            for temporary, _, final in parts:
                os.replace(temporary, final)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}") from None
