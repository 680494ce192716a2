"""Prints lowered loop functions as static C functions over raw pointers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workers.compilers.tvm.cexpr import ITEMSIZE, Dialect, ExprPrinter, NoCodeError, c_type
from workers.compilers.tvm.lines import Access, Line, live, may_share
from workers.compilers.tvm.workspaces import LoopFunction, nbytes

if TYPE_CHECKING:
    from tvm.tirx import Stmt, Var


@dataclass(frozen=True)
class Parameter:
    """A pointer parameter of a kernel: TIR element type, bytes, and what is done with it.

    One that is neither read nor written is not part of the C function.
    """

    name: str
    dtype: str
    nbytes: int
    written: bool = False
    used: bool = True


@dataclass(frozen=True)
class Kernel:
    """One C function. The first parameters are those of the TIR function, in its order (inputs,
    then outputs); the last `workspaces` are scratch memory.

    `helpers` are the functions of `cexpr.helper` that `body` needs, `shareable` the pairs of input
    and output parameters, by number, that may be the same memory (see `lines.may_share`).
    """

    name: str
    parameters: tuple[Parameter, ...]
    workspaces: int
    body: str
    helpers: frozenset[str]
    shareable: frozenset[tuple[int, int]] = frozenset()

    def definition(self, overlapping: frozenset[int] = frozenset()) -> str:
        """Return the C text. Parameters are ``restrict`` but those numbered in `overlapping`."""
        parts = []
        for number, p in enumerate(self.parameters):
            if not p.used:
                continue
            const = "" if p.written else "const "
            restrict = "" if number in overlapping else "restrict "
            parts.append(f"{const}{c_type(p.dtype)} *{restrict}{p.name}")
        return f"static void {self.name}({', '.join(parts) or 'void'}) {{\n{self.body}}}\n"


def make_kernel(name: str, function: LoopFunction, dialect: Dialect) -> Kernel:
    """Return `function` as a C function called `name`.

    Raises:
        NoCodeError: something in it has no C form here.
    """
    return _Builder(function, dialect).build(name)


class _Builder:
    """State while one function is printed: names in use, lines so far."""

    def __init__(self, function: LoopFunction, dialect: Dialect) -> None:
        self._func = function.func
        self._workspaces = function.workspaces
        self._names: dict[Var, str] = {}
        self._taken: set[str] = set(_RESERVED)
        self._lines: list[Line] = []
        self._times: int | None = 1
        self._roots: dict[str, str] = {}
        self._expr = ExprPrinter(self._name, dialect)

    def build(self, name: str) -> Kernel:
        declared = [self._parameter(p) for p in self._func.params]
        tensors = {p.name for p in declared[: len(declared) - self._workspaces]}
        self._statements(self._func.body, 1)
        lines = live(self._lines, tensors)
        stored = {line.target for line in lines}
        used = stored.union(*(line.reads for line in lines))
        parameters = tuple(
            replace(p, written=p.name in stored, used=p.name in used) for p in declared
        )
        return Kernel(
            name,
            parameters,
            self._workspaces,
            "".join(line.text for line in lines),
            frozenset(self._expr.helpers),
            _shareable(lines, parameters[: len(tensors)]),
        )

    def _parameter(self, var: Var) -> Parameter:
        if not _is_buffer(var):
            raise NoCodeError("needs a scalar parameter: shapes are not static")
        self._expr.c_type(var.ty.dtype)
        offset = var.ty.elem_offset
        if type(offset).__name__ == "Var":
            self._names[offset] = "0"  # a parameter points at its first element
        return Parameter(self._declare(var), str(var.ty.dtype), nbytes(var))

    def _declare(self, var: Var) -> str:
        base = re.sub(r"\W+", "_", var.name)[:40].strip("_") or "v"
        base = f"v{base}" if base[0].isdigit() else base
        name, number = base, 1
        while name in self._taken:
            name, number = f"{base}_{number}", number + 1
        self._taken.add(name)
        self._names[var] = name
        return name

    def _name(self, var: Var) -> str:
        try:
            return self._names[var]
        except KeyError:
            raise NoCodeError(f"needs the undefined variable {var.name}") from None

    def _emit(
        self, depth: int, text: str, target: str | None = None, index: str | None = None
    ) -> None:
        root = None if target is None else self._root(target)
        store = None if root is None or index is None else Access(root, index)
        loads = frozenset(Access(self._root(name), at) for name, at in self._expr.loads)
        self._expr.loads.clear()
        self._lines.append(Line(f"{'  ' * depth}{text}\n", root, store, loads, self._times))

    def _root(self, name: str) -> str:
        """Return the name of the buffer that `name` is a view of, or `name`."""
        return self._roots.get(name, name)

    def _statements(self, stmt: Stmt, depth: int) -> None:
        for s in getattr(stmt, "seq", (stmt,)):
            kind = type(s).__name__
            if kind == "AllocBuffer":
                self._alloc(s.buffer, depth)
            elif kind == "SeqStmt":
                self._statements(s, depth)
            elif kind == "AttrStmt":
                self._statements(s.body, depth)
            else:
                handler = getattr(self, f"_{kind.lower()}", None)
                if handler is None:
                    raise NoCodeError(f"needs a TIR {kind} statement, which has no C form")
                handler(s, depth)

    def _alloc(self, buffer: Var, depth: int) -> None:
        dtype = str(buffer.ty.dtype)
        size = max(nbytes(buffer) // ITEMSIZE[dtype], 1)
        name = self._declare(buffer)
        self._emit(depth, f"{self._expr.c_type(dtype)} {name}[{size}];", name)

    def _declbuffer(self, s: Any, depth: int) -> None:
        """Give a view of a buffer the same C name, or a cast pointer if the type differs."""
        source, view = s.data.args[0], s.buffer
        if str(getattr(s.data.op, "name", "")) != "tirx.buffer_data":
            raise NoCodeError("needs a buffer at a computed address")
        origin = self._name(source)
        if str(source.ty.dtype) == str(view.ty.dtype):
            self._names[view] = origin
            return
        c = self._expr.c_type(view.ty.dtype)
        name = self._declare(view)
        self._roots[name] = self._root(origin)
        self._emit(depth, f"{c} *{name} = ({c} *){origin};", name)

    def _bind(self, s: Any, depth: int) -> None:
        value = self._expr(s.value)
        self._emit(
            depth, f"const {self._expr.c_type(s.var.ty.dtype)} {self._declare(s.var)} = {value};"
        )

    def _bufferstore(self, s: Any, depth: int) -> None:
        if len(s.indices) != 1:
            raise NoCodeError("needs a buffer of more than one dimension after flattening")
        name = self._name(s.buffer)
        index = self._expr(s.indices[0])
        self._emit(depth, f"{name}[{index}] = {self._expr(s.value)};", name, index)

    def _for(self, s: Any, depth: int) -> None:
        low = self._expr(s.min)
        high = self._expr(s.min + s.extent)
        var = self._declare(s.loop_var)
        c = self._expr.c_type(s.loop_var.ty.dtype)
        self._emit(depth, f"for ({c} {var} = {low}; {var} < {high}; ++{var}) {{")
        self._repeated(s.body, depth, getattr(s.extent, "value", None))

    def _while(self, s: Any, depth: int) -> None:
        self._emit(depth, f"while ({self._expr(s.condition)}) {{")
        self._repeated(s.body, depth, None)

    def _repeated(self, body: Stmt, depth: int, times: int | None) -> None:
        outer = self._times
        self._times = None if outer is None or times is None else outer * int(times)
        self._statements(body, depth + 1)
        self._times = outer
        self._emit(depth, "}")

    def _ifthenelse(self, s: Any, depth: int) -> None:
        self._emit(depth, f"if ({self._expr(s.condition)}) {{")
        self._statements(s.then_case, depth + 1)
        if s.else_case is not None:
            self._emit(depth, "} else {")
            self._statements(s.else_case, depth + 1)
        self._emit(depth, "}")

    def _evaluate(self, s: Any, depth: int) -> None:
        if type(s.value).__name__ != "IntImm":
            self._emit(depth, f"{self._expr(s.value)};")

    def _assertstmt(self, s: Any, depth: int) -> None:
        """Print nothing: with static shapes TVM's assertions hold."""


# C keywords and the names of math.h and of this compiler's helpers that loop variables may hit.
_RESERVED_WORDS = """
    auto break case char const continue default do double else enum extern float for goto
    if inline int long register restrict return short signed sizeof static struct switch
    typedef union unsigned void volatile while main exp log sin cos tan pow floor ceil
    round fabs gamma index y0 y1 yn j0 j1 jn erf
"""
_RESERVED = frozenset(_RESERVED_WORDS.split())


def _shareable(
    lines: Sequence[Line], parameters: Sequence[Parameter]
) -> frozenset[tuple[int, int]]:
    """Return the pairs of an input and an output, by number, that may lie in the same memory."""
    return frozenset(
        (i, o)
        for i, source in enumerate(parameters)
        for o, result in enumerate(parameters)
        if result.written
        and not source.written
        and (source.nbytes, source.dtype) == (result.nbytes, result.dtype)
        and may_share(lines, source.name, result.name, source.nbytes // ITEMSIZE[source.dtype])
    )


def _is_buffer(var: Var) -> bool:
    return type(var.ty).__name__ == "BufferType"
