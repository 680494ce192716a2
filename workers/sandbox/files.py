"""Files as they go in and come out of a sandbox: plain relative paths and their bytes.

Outside nothing is read from a folder that a job has written to; inside, the job's folder is read
by our own code before the job ends, and again nobody has to believe that: what comes out is
checked once more where it is written.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from tinymlaas.contract.errors import CompilerCrashed

Files = dict[str, bytes]

MOST_FILES = 8192
MOST_BYTES = 512 << 20
_LONGEST = 240
_DEEPEST = 16
_PART = re.compile(r"[A-Za-z0-9_.+=,@-]{1,128}")


def checked(path: str) -> str:
    """Return `path` if it is plain and relative: no way up, no control characters, not long.

    Raises:
        CompilerCrashed: it is anything else.
    """
    parts = path.split("/")
    plain = all(_PART.fullmatch(part) and part not in {".", ".."} for part in parts)
    if not plain or len(path) > _LONGEST or len(parts) > _DEEPEST:
        raise CompilerCrashed(f"a file is called {path[:80]!a}: that is no plain relative name")
    return path


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` below `folder`, which is ours alone.

    Raises:
        CompilerCrashed: a name is not plain; nothing is written then.
        OSError: it cannot be written.
    """
    for path in files:
        checked(path)
    try:
        for path, content in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                file.write(content)
    except (FileExistsError, NotADirectoryError):
        raise CompilerCrashed(f"{path} is both a file and a folder, or there twice") from None


def read(folder: Path, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES) -> Files:
    """Return all regular files below `folder`, by path.

    Raises:
        CompilerCrashed: something there is a link, a device or a pipe, has an odd name, or it is
            too much.
    """
    found: Files = {}
    left = most_bytes
    for path, place in _listed(folder, most_files):
        content = _content(place, path, left)
        left -= len(content)
        found[path] = content
    return found


def _listed(folder: Path, most: int) -> Iterator[tuple[str, str]]:
    count = 0
    todo = [(str(folder), "")]
    while todo:
        place, prefix = todo.pop()
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                count += 1
                if count > most:
                    raise CompilerCrashed(f"it left more than {most:,} files")
                path = checked(prefix + entry.name)
                if entry.is_symlink():
                    raise CompilerCrashed(f"{path} is a symbolic link; only files come out")
                if entry.is_dir(follow_symlinks=False):
                    todo.append((entry.path, f"{path}/"))
                else:
                    yield path, entry.path


def _content(place: str, path: str, most: int) -> bytes:
    # O_NONBLOCK: a pipe put there a moment ago would keep us waiting.
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CompilerCrashed(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise CompilerCrashed(f"{path} is no regular file; only files come out")
        if facts.st_nlink != 1:
            raise CompilerCrashed(f"{path} has another name (a hard link); only files come out")
        content = file.read(min(facts.st_size, most) + 1)
    if len(content) > most:
        raise CompilerCrashed(f"{path} makes what it left larger than allowed")
    return content
