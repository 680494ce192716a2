"""Boards by name: those shipped, one TOML file each, or a file of the user's."""

from __future__ import annotations

import difflib
import functools
from pathlib import Path

from tinymlaas.boards.check import load_file
from tinymlaas.contract.base import Model
from tinymlaas.contract.device import DeviceProfile
from tinymlaas.contract.errors import UnknownBoard

PROFILES = Path(__file__).parent / "profiles"
_SUFFIX = ".toml"


class BoardList(Model):
    """What `tinymlaas boards --json` prints."""

    boards: tuple[DeviceProfile, ...]


def names() -> list[str]:
    """Return the names of the boards shipped, in alphabetical order."""
    return list(_names())


@functools.cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in PROFILES.glob(f"*{_SUFFIX}")))


@functools.cache
def _shipped(name: str) -> DeviceProfile:
    """Return a shipped board; read once, for a scheduler asks for every job."""
    return load_file(PROFILES / f"{name}{_SUFFIX}")


def get(name_or_path: str) -> DeviceProfile:
    """Return a board by its name, or by the path of a profile that ends in ``.toml``.

    Raises:
        UnknownBoard: there is no such name (the nearest are suggested) or file.
        InvalidBoard: the file has mistakes; one reason each.
    """
    if name_or_path.endswith(_SUFFIX):
        return load_file(Path(name_or_path))
    known = _names()
    if name_or_path not in known:
        near = difflib.get_close_matches(name_or_path.lower(), known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UnknownBoard(
            f"no board is called '{name_or_path}'; {hint}"
            "`tinymlaas boards` lists all, and a profile of your own may be given as FILE.toml"
        )
    return _shipped(name_or_path)


def all_boards() -> list[DeviceProfile]:
    """Return all boards shipped, in alphabetical order."""
    return [get(name) for name in names()]
