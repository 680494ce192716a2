"""Check what a compiler wrote: nothing it says is believed before it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from tinymlaas.contract.base import Model
from tinymlaas.contract.compiler import (
    ArenaTensor,
    Compiled,
    CompilerDescription,
    RelativePath,
    Unsupported,
)
from tinymlaas.contract.errors import CompilerCrashed, UnsupportedModel, one_line
from workers.compilers.plugin import COMPILED_FILE, UNSUPPORTED_FILE, Output
from workers.sandbox.files import Files

MAX_JSON_BYTES = 8 << 20
MAX_OUTPUT_BYTES = 512 << 20
MAX_OUTPUT_FILES = 20_000
_MOST_REASONS, _LONGEST_REASON = 20, 400

M = TypeVar("M", bound=Model)
_PATH = TypeAdapter(RelativePath)


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


def read_unsupported(files: Files, name: str) -> UnsupportedModel:
    """Return the error that ``unsupported.json`` among `files` stands for."""
    what = f"{name}: {UNSUPPORTED_FILE}"
    found = parse(Unsupported, _file(files, UNSUPPORTED_FILE, what), what)
    return UnsupportedModel(*shortened(found.reasons))


def shortened(reasons: Sequence[str]) -> tuple[str, ...]:
    """Return `reasons` as they go into a report: it is kept, and shown, whoever has written it."""
    return tuple(one_line(reason[:_LONGEST_REASON]) for reason in reasons[:_MOST_REASONS])


def read_compiled(files: Files, description: CompilerDescription) -> Output:
    """Return ``compiled.json`` of `files` once everything it names is found to be true.

    Raises:
        CompilerCrashed: schema, a missing or oddly named file, another compiler's name, or
            tensors outside the arena.
    """
    what = f"{description.name}: {COMPILED_FILE}"
    compiled = parse(Compiled, _file(files, COMPILED_FILE, what), what)
    if (compiled.compiler, compiled.version) != (description.name, description.version):
        raise CompilerCrashed(f"{what} says it is of {compiled.compiler} {compiled.version}")
    if not compiled.sources and not compiled.objects:
        raise CompilerCrashed(f"{what} names neither sources nor objects")
    for path in (*compiled.sources, *compiled.objects, *compiled.extras):
        if path not in files:
            raise CompilerCrashed(f"{what} names {path}, which is no regular file of its output")
    _check_names(files, description.name)
    kept = (tap.tensor for tap in compiled.taps)
    for tensor in (*compiled.inputs, *compiled.outputs, *kept):
        _check_placed(tensor, compiled, what)
    return Output(compiled, files)


def _check_names(files: Files, name: str) -> None:
    """Refuse names that a module's archive cannot hold; headers are found by their names alone."""
    for path in files:
        try:
            _PATH.validate_python(path, strict=True)
        except ValidationError:
            raise CompilerCrashed(
                f"{name}: wrote a file with an odd name: {path[:100]!a}"
            ) from None


def _file(files: Files, path: str, what: str) -> bytes:
    if path not in files:
        raise CompilerCrashed(f"{what} was not written")
    return files[path]


def _check_placed(tensor: ArenaTensor, compiled: Compiled, what: str) -> None:
    if tensor.offset + tensor.spec.nbytes > compiled.arena.size:
        raise CompilerCrashed(f"{what}: tensor {tensor.spec.name} lies outside the arena")
    if tensor.offset % max(1, tensor.spec.dtype.itemsize):
        raise CompilerCrashed(f"{what}: tensor {tensor.spec.name} is not aligned to its elements")
