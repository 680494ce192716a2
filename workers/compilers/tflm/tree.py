"""The TFLM source tree that ``TINYMLAAS_TFLM_ROOT`` names: which of its files a module needs."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tinymlaas.contract.errors import ToolchainError

VARIABLE = "TINYMLAAS_TFLM_ROOT"
FOLDER = "tflm"

# Folders of sources below the root, and where third-party headers lie in a tree that
# `create_tflm_tree.py` made (or in a checkout after `make third_party_downloads`).
_SOURCES = (
    "tensorflow/lite/micro",
    "tensorflow/lite/micro/kernels",
    "tensorflow/lite/micro/memory_planner",
    "tensorflow/lite/micro/arena_allocator",
    "tensorflow/lite/micro/tflite_bridge",
    "tensorflow/lite/micro/core/api",
    "tensorflow/lite/micro/kernels/internal",
    "tensorflow/lite/micro/kernels/internal/reference",
    "tensorflow/lite/core/api",
    "tensorflow/lite/core/c",
    "tensorflow/lite/kernels",
    "tensorflow/lite/kernels/internal",
    "tensorflow/lite/kernels/internal/reference",
    "tensorflow/lite/schema",
    "tensorflow/compiler/mlir/lite/core/api",
    "tensorflow/compiler/mlir/lite/schema",
    "signal/src",
    "signal/src/kiss_fft_wrappers",
    "signal/micro/kernels",
)
_THIRD_PARTY = ("flatbuffers/include", "gemmlowp", "ruy", "kissfft")
_THIRD_PARTY_ROOTS = ("third_party", "tensorflow/lite/micro/tools/make/downloads")
_NOT_OURS = ("_test.cc", "_test_common.cc", "_benchmark.cc", "test_helpers.cc", "test_helper.cc")
_HEADERS = (".h", ".hpp", ".inc")
_PROOF = "tensorflow/lite/micro/micro_interpreter.h"


def configured(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the tree's root, or None if the variable is not set.

    Raises:
        ToolchainError: the variable names something that is no TFLM tree.
    """
    named = environment.get(VARIABLE)
    if not named:
        return None
    root = Path(named)
    if not (root / _PROOF).is_file():
        raise ToolchainError(f"{VARIABLE}={named} is no TFLM source tree: {_PROOF} is not there")
    if not _third_party(root):
        raise ToolchainError(
            f"{VARIABLE}={named} has no third-party headers (flatbuffers, gemmlowp, ruy): "
            "make the tree with create_tflm_tree.py, or run its third_party_downloads"
        )
    return root


@cache
def digest(root: Path) -> str:
    """Return the SHA-256 over all files of the tree that can reach a module."""
    total = hashlib.sha256()
    for path in _files(root):
        content = path.read_bytes()
        total.update(f"{path.relative_to(root)}:{len(content)}:".encode() + content)
    return total.hexdigest()


def copy_in(root: Path, out: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Copy what a module needs into ``out/tflm``; return sources and include folders there.

    The linker drops what the model does not use, so no list of kernels by operator is kept.
    """
    for path in _files(root):
        target = out / FOLDER / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    sources = tuple(f"{FOLDER}/{path.relative_to(root)}" for path in _sources(root))
    includes = (FOLDER, *(f"{FOLDER}/{path.relative_to(root)}" for path in _third_party(root)))
    return sources, includes


def _third_party(root: Path) -> list[Path]:
    candidates = [root / base / name for base in _THIRD_PARTY_ROOTS for name in _THIRD_PARTY]
    return [path for path in candidates if path.is_dir()]


def _sources(root: Path) -> list[Path]:
    found = [path for folder in _SOURCES for path in (root / folder).glob("*.cc")]
    return sorted(p for p in found if not p.name.endswith(_NOT_OURS) and p.is_file())


def _files(root: Path) -> list[Path]:
    folders = (root / "tensorflow", root / "signal", *_third_party(root))
    headers = {
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in _HEADERS and path.is_file()
    }
    return sorted({*headers, *_sources(root)})
