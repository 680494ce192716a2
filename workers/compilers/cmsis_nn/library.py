"""The portable kernel library: its files pasted into the module, each once, in order of need."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_FOLDER = Path(__file__).parent / "kernels"
_INCLUDE = re.compile(r'^#include "([^"]+)"\n', re.MULTILINE)
_SYSTEM = re.compile(r"^#include (<[^>]+>)\n", re.MULTILINE)


def portable(files: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """Return the text of `files` and all they include, and the system headers they need."""
    done: dict[str, str] = {}
    for name in files:
        _visit(name, done)
    text = "\n".join(done.values())
    system = tuple(dict.fromkeys(_SYSTEM.findall(text)))
    return _SYSTEM.sub("", text), system


def _visit(name: str, done: dict[str, str]) -> None:
    if name in done:
        return
    text = (_FOLDER / name).read_text()
    for needed in _INCLUDE.findall(text):
        _visit(needed, done)
    done[name] = _INCLUDE.sub("", text)
