"""Reading the files a user names, of whatever kind and size they are."""

from __future__ import annotations

import re
from pathlib import Path

from tinymlaas.contract.errors import UsageError


def read_input(path: Path, what: str, limit: int) -> bytes:
    """Return the content of `path`, a file or pipe of at most `limit` bytes; `what` names it.

    Raises:
        UsageError: it is not there, cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror or error}") from None
    if len(data) > limit:
        raise UsageError(f"the {what} {path} is larger than {limit:,} bytes")
    return data


def symbol_prefix(path: Path) -> str:
    """Return a C identifier made of the file's stem: the prefix of the module's symbols."""
    stem = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")[:40] or "model"
    return stem if stem[0].isalpha() else f"m_{stem}"
