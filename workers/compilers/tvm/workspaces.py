"""Takes the scratch buffers of loop functions out of them: the caller's arena holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.compilers.tvm.cexpr import ITEMSIZE, NoCodeError, c_type

if TYPE_CHECKING:
    import tvm
    from tvm.tirx import PrimFunc, Var

LOCAL_BYTES = 256
"""Scratch buffers up to this size stay local (registers or stack). The blocks of accumulators that
scheduled loops use are well below."""


@dataclass(frozen=True)
class LoopFunction:
    """A lowered function whose last `workspaces` parameters are scratch buffers."""

    func: PrimFunc
    workspaces: int


def hoist(func: PrimFunc) -> LoopFunction:
    """Return `func` with every larger buffer that it allocates at its top made a parameter."""
    from tvm.tirx import PrimFunc, SeqStmt

    found: list[Var] = []
    rest = _without(func.body, found)
    if not found:
        return LoopFunction(func, 0)
    params = [*func.params, *found]
    return LoopFunction(PrimFunc(params, SeqStmt(rest), attrs=func.attrs), len(found))


def _without(stmt: tvm.tirx.Stmt, found: list[Var]) -> list[Any]:
    """Return the statements of `stmt` but the large allocations, which go into `found`."""
    kept: list[Any] = []
    for s in getattr(stmt, "seq", (stmt,)):
        kind = type(s).__name__
        if kind == "SeqStmt":
            kept += _without(s, found)
        elif kind == "AllocBuffer" and nbytes(s.buffer) > LOCAL_BYTES:
            found.append(s.buffer)
        else:
            kept.append(s)
    return kept


def nbytes(buffer: Var) -> int:
    """Return the bytes of a buffer of constant shape.

    Raises:
        NoCodeError: its size is not known, or its elements have no C type.
    """
    c_type(buffer.ty.dtype)
    elements = 1
    for dim in buffer.ty.shape:
        if not hasattr(dim, "value"):
            raise NoCodeError("needs a buffer whose size is not known at compile time")
        elements *= int(dim.value)
    return elements * ITEMSIZE[str(buffer.ty.dtype)]
