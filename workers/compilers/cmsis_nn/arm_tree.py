"""A tree of Arm's CMSIS-NN sources: which files define what, and what a module needs of them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tinymlaas.contract.errors import ToolchainError, UsageError

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_FUNCTION = re.compile(
    r"^(?!.*\bstatic\b)[\w *]+?\b(\w+)\s*\((?:[^;{}()]|\([^()]*\))*\)\s*\{", re.MULTILINE
)
_TABLE = re.compile(r"^(?!.*\bstatic\b)const [\w ]+?\b(\w+)\s*\[[^\]]*\]\s*=", re.MULTILINE)
_WORD = re.compile(r"\b[A-Za-z_]\w+\b")

ROOT_VARIABLE = "TINYMLAAS_CMSIS_NN_ROOT"


@dataclass(frozen=True)
class ArmTree:
    """The folder with ``Include/`` and ``Source/``."""

    root: Path

    def check(self) -> None:
        """Check that the folder is such a tree.

        Raises:
            ToolchainError: it is not.
        """
        if not (self.root / "Include" / "arm_nnfunctions.h").is_file():
            raise ToolchainError(
                f"{ROOT_VARIABLE}={self.root} is no CMSIS-NN tree: "
                "Include/arm_nnfunctions.h is missing"
            )

    @cached_property
    def digest(self) -> str:
        """The SHA-256 over all files of the tree that can reach a module."""
        total = hashlib.sha256()
        for path in sorted(
            (*self.root.glob("Include/**/*.h"), *self.root.glob("Source/**/*.[ch]"))
        ):
            content = path.read_bytes()
            total.update(f"{path.relative_to(self.root)}:{len(content)}:".encode() + content)
        return total.hexdigest()

    @cached_property
    def _texts(self) -> dict[str, str]:
        paths = sorted((self.root / "Source").rglob("*.c"))
        return {
            path.relative_to(self.root).as_posix(): _COMMENT.sub(
                " ", path.read_text(errors="replace")
            )
            for path in paths
        }

    @cached_property
    def _defined(self) -> dict[str, str]:
        """Return the file that defines each name."""
        found: dict[str, str] = {}
        for path, text in self._texts.items():
            for name in (*_FUNCTION.findall(text), *_TABLE.findall(text)):
                found.setdefault(name, path)
        return found

    def sources(self, functions: Iterable[str]) -> tuple[str, ...]:
        """Return the files that define `functions` and all that they use, sorted.

        Raises:
            UsageError: the tree does not define one of `functions`.
        """
        missing = [name for name in functions if name not in self._defined]
        if missing:
            raise UsageError(f"the CMSIS-NN tree {self.root} does not define {', '.join(missing)}")
        wanted = [self._defined[name] for name in functions]
        done: set[str] = set()
        while wanted:
            path = wanted.pop()
            if path in done:
                continue
            done.add(path)
            words = set(_WORD.findall(self._texts[path]))
            wanted += [self._defined[word] for word in words & self._defined.keys()]
        return tuple(sorted(done))

    def headers(self) -> tuple[str, ...]:
        """Return all headers below ``Include/``, sorted."""
        return tuple(
            sorted(p.relative_to(self.root).as_posix() for p in self.root.glob("Include/**/*.h"))
        )


def configured(environment: Mapping[str, str] = os.environ) -> ArmTree | None:
    """Return the tree that ``TINYMLAAS_CMSIS_NN_ROOT`` names, or None if it is not set.

    Raises:
        ToolchainError: it names something that is no CMSIS-NN tree.
    """
    named = environment.get(ROOT_VARIABLE)
    if not named:
        return None
    tree = ArmTree(Path(named).resolve())
    tree.check()
    return tree
