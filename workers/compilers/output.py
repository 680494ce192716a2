"""Check what a compiler wrote: nothing it says is believed before it is looked at."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from tinymlaas.contract.base import Model
from tinymlaas.contract.compiler import ArenaTensor, Compiled, CompilerDescription, Unsupported
from tinymlaas.contract.errors import CompilerCrashed, UnsupportedModel
from workers.compilers.plugin import COMPILED_FILE, UNSUPPORTED_FILE

MAX_JSON_BYTES = 8 << 20
_MAX_OUTPUT_BYTES = 512 << 20

M = TypeVar("M", bound=Model)


def parse(model: type[M], data: bytes, what: str) -> M:
    """Parse `data` as JSON of `model`.

    Raises:
        CompilerCrashed: it is too large or does not follow the schema; names the first mistake.
    """
    if len(data) > MAX_JSON_BYTES:
        raise CompilerCrashed(f"{what} is larger than {MAX_JSON_BYTES >> 20} MiB")
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise CompilerCrashed(f"{what} breaks the interface: {where}: {first['msg']}") from None


def read_unsupported(out: Path, name: str) -> UnsupportedModel:
    """Return the error that ``unsupported.json`` in `out` stands for."""
    data = _read(out / UNSUPPORTED_FILE, f"{name}: {UNSUPPORTED_FILE}")
    return UnsupportedModel(*parse(Unsupported, data, f"{name}: {UNSUPPORTED_FILE}").reasons)


def read_compiled(out: Path, description: CompilerDescription) -> Compiled:
    """Return ``compiled.json`` of `out` once everything it names is found to be true.

    Raises:
        CompilerCrashed: schema, a missing or unsafe file, another compiler's name, or tensors
            outside the arena.
    """
    what = f"{description.name}: {COMPILED_FILE}"
    compiled = parse(Compiled, _read(out / COMPILED_FILE, what), what)
    if (compiled.compiler, compiled.version) != (description.name, description.version):
        raise CompilerCrashed(f"{what} says it is of {compiled.compiler} {compiled.version}")
    if not compiled.sources and not compiled.objects:
        raise CompilerCrashed(f"{what} names neither sources nor objects")
    total = sum(
        _size(out, path, what) for path in (*compiled.sources, *compiled.objects, *compiled.extras)
    )
    if total > _MAX_OUTPUT_BYTES:
        raise CompilerCrashed(f"{what}: output is larger than {_MAX_OUTPUT_BYTES >> 20} MiB")
    kept = (tap.tensor for tap in compiled.taps)
    for tensor in (*compiled.inputs, *compiled.outputs, *kept):
        _check_placed(tensor, compiled, what)
    return compiled


def _read(path: Path, what: str) -> bytes:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise CompilerCrashed(f"{what} is not a regular file")
        with path.open("rb") as file:
            return file.read(MAX_JSON_BYTES + 1)
    except FileNotFoundError:
        raise CompilerCrashed(f"{what} was not written") from None


def _size(out: Path, path: str, what: str) -> int:
    target = out / path
    # resolve() follows links in every folder on the way, so a link that leads out is seen here
    inside = target.resolve().is_relative_to(out.resolve())
    if not inside or target.is_symlink() or not target.is_file():
        raise CompilerCrashed(f"{what} names {path}, which is no regular file of its output")
    return target.stat().st_size


def _check_placed(tensor: ArenaTensor, compiled: Compiled, what: str) -> None:
    if tensor.offset + tensor.spec.nbytes > compiled.arena.size:
        raise CompilerCrashed(f"{what}: tensor {tensor.spec.name} lies outside the arena")
    if tensor.offset % max(1, tensor.spec.dtype.itemsize):
        raise CompilerCrashed(f"{what}: tensor {tensor.spec.name} is not aligned to its elements")
