"""Prints lowered loop functions as static C functions over raw pointers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workers.compilers.tvm.cexpr import ITEMSIZE, ExprPrinter, NoCodeError, c_type

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc, Stmt, Var

LOCAL_BYTES = 256
"""Buffers of a function up to this size are C locals (registers or stack); larger ones become
workspaces in the arena. The blocks of accumulators that scheduled loops use are well below."""


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

    `helpers` are the functions of `cexpr.helper` that `body` needs.
    """

    name: str
    parameters: tuple[Parameter, ...]
    workspaces: int
    body: str
    helpers: frozenset[str]

    def definition(self, *, no_restrict: frozenset[int] = frozenset()) -> str:
        """Return the C text. Pointers are ``restrict`` but those numbered in `no_restrict`."""
        parts = []
        for number, p in enumerate(self.parameters):
            if not p.used:
                continue
            const = "" if p.written else "const "
            restrict = "" if number in no_restrict else "restrict "
            parts.append(f"{const}{c_type(p.dtype)} *{restrict}{p.name}")
        return f"static void {self.name}({', '.join(parts) or 'void'}) {{\n{self.body}}}\n"


def make_kernel(name: str, func: PrimFunc, *, wide: bool) -> Kernel:
    """Return `func` (lowered, see `lower`) as a C function called `name`.

    Raises:
        NoCodeError: something in it has no C form here.
    """
    return _Builder(func, wide=wide).build(name)


@dataclass(frozen=True)
class _Line:
    """A line of C, the buffer it stores to or declares, and the buffers it loads from."""

    text: str
    target: str | None = None
    loads: frozenset[str] = frozenset()


class _Builder:
    """State while one function is printed: names in use, lines so far."""

    def __init__(self, func: PrimFunc, *, wide: bool) -> None:
        self._func = func
        self._names: dict[Var, str] = {}
        self._taken: set[str] = set(_RESERVED)
        self._lines: list[_Line] = []
        self._workspaces: list[Parameter] = []
        self._roots: dict[str, str] = {}
        self._expr = ExprPrinter(self._name, wide=wide)

    def build(self, name: str) -> Kernel:
        params = [self._parameter(p) for p in self._func.params]
        self._statements(self._func.body, 1, top=True)
        lines = self._live({p.name for p in params})
        stored = {line.target for line in lines}
        used = stored.union(*(line.loads for line in lines))
        workspaces = [w for w in self._workspaces if w.name in used]
        parameters = tuple(
            replace(p, written=p.name in stored, used=p.name in used)
            for p in (*params, *workspaces)
        )
        body = "".join(line.text for line in lines)
        return Kernel(name, parameters, len(workspaces), body, frozenset(self._expr.helpers))

    def _live(self, params: set[str]) -> list[_Line]:
        """Return the lines without stores to scratch buffers that nothing reads afterwards.

        Fused functions compute all results of a group, also those the model has no use for.
        """
        lines = self._lines
        while True:
            needed = params.union(*(line.loads for line in lines))
            kept = [line for line in lines if line.target is None or line.target in needed]
            if len(kept) == len(lines):
                return kept
            lines = kept

    def _parameter(self, var: Var) -> Parameter:
        if not _is_buffer(var):
            raise NoCodeError("needs a scalar parameter: shapes are not static")
        return Parameter(self._declare(var), str(var.ty.dtype), _nbytes(var))

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

    def _emit(self, depth: int, text: str, target: str | None = None) -> None:
        root = None if target is None else self._root(target)
        loads = frozenset(map(self._root, self._expr.loads))
        self._expr.loads.clear()
        self._lines.append(_Line(f"{'  ' * depth}{text}\n", root, loads))

    def _root(self, name: str) -> str:
        """Return the name of the buffer that `name` is a view of, or `name`."""
        return self._roots.get(name, name)

    def _statements(self, stmt: Stmt, depth: int, *, top: bool = False) -> None:
        for s in getattr(stmt, "seq", (stmt,)):
            kind = type(s).__name__
            if kind == "AllocBuffer":
                self._alloc(s.buffer, depth, top=top)
            elif kind == "SeqStmt":
                self._statements(s, depth, top=top)
            elif kind == "AttrStmt":
                self._statements(s.body, depth, top=top)
            else:
                handler = getattr(self, f"_{kind.lower()}", None)
                if handler is None:
                    raise NoCodeError(f"needs a TIR {kind} statement, which has no C form")
                handler(s, depth)

    def _alloc(self, buffer: Var, depth: int, *, top: bool) -> None:
        nbytes, dtype = _nbytes(buffer), str(buffer.ty.dtype)
        name = self._declare(buffer)
        if top and nbytes > LOCAL_BYTES:
            self._workspaces.append(Parameter(name, dtype, nbytes))
        else:
            size = max(nbytes // ITEMSIZE[dtype], 1)
            self._emit(depth, f"{c_type(dtype)} {name}[{size}];", name)

    def _declbuffer(self, s: Any, depth: int) -> None:
        """Give a view of a buffer the same C name, or a cast pointer if the type differs."""
        source, view = s.data.args[0], s.buffer
        if str(getattr(s.data.op, "name", "")) != "tirx.buffer_data":
            raise NoCodeError("needs a buffer at a computed address")
        origin = self._name(source)
        if str(source.ty.dtype) == str(view.ty.dtype):
            self._names[view] = origin
            return
        c = c_type(view.ty.dtype)
        name = self._declare(view)
        self._roots[name] = self._root(origin)
        self._emit(depth, f"{c} *{name} = ({c} *){origin};", name)

    def _bind(self, s: Any, depth: int) -> None:
        value = self._expr(s.value)
        self._emit(depth, f"const {c_type(s.var.ty.dtype)} {self._declare(s.var)} = {value};")

    def _bufferstore(self, s: Any, depth: int) -> None:
        if len(s.indices) != 1:
            raise NoCodeError("needs a buffer of more than one dimension after flattening")
        name = self._name(s.buffer)
        target = f"{name}[{self._expr(s.indices[0])}]"
        self._emit(depth, f"{target} = {self._expr(s.value)};", name)

    def _for(self, s: Any, depth: int) -> None:
        low = self._expr(s.min)
        high = self._expr(s.min + s.extent)
        var = self._declare(s.loop_var)
        c = c_type(s.loop_var.ty.dtype)
        self._emit(depth, f"for ({c} {var} = {low}; {var} < {high}; ++{var}) {{")
        self._statements(s.body, depth + 1)
        self._emit(depth, "}")

    def _while(self, s: Any, depth: int) -> None:
        self._emit(depth, f"while ({self._expr(s.condition)}) {{")
        self._statements(s.body, depth + 1)
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


def _is_buffer(var: Var) -> bool:
    return type(var.ty).__name__ == "BufferType"


def _nbytes(buffer: Var) -> int:
    """Return the bytes of a buffer of constant shape."""
    c_type(buffer.ty.dtype)
    elements = 1
    for dim in buffer.ty.shape:
        if not hasattr(dim, "value"):
            raise NoCodeError("needs a buffer whose size is not known at compile time")
        elements *= int(dim.value)
    return elements * ITEMSIZE[str(buffer.ty.dtype)]
