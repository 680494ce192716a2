"""Prints lowered TIR expressions as C11."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm.ir import Expr
    from tvm.tirx import Var


class NoCodeError(Exception):
    """There is no C here for something the model needs; reads on after an operator's name."""


C_TYPES = {
    "bool": "uint8_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "uint64": "uint64_t",
    "float32": "float",
    "float64": "double",
}
ITEMSIZE = {name: int(re.sub(r"\D", "", name) or 8) // 8 for name in C_TYPES}

_INFIX = {
    "Add": "+",
    "Sub": "-",
    "Mul": "*",
    "Div": "/",
    "EQ": "==",
    "NE": "!=",
    "LT": "<",
    "LE": "<=",
    "GT": ">",
    "GE": ">=",
    "And": "&&",
    "Or": "||",
    "BitwiseAnd": "&",
    "BitwiseOr": "|",
    "BitwiseXor": "^",
    "LShift": "<<",
    "RShift": ">>",
}
_CALL_FORMS = {
    "bitwise_and": "{} & {}",
    "bitwise_not": "~{}",
    "bitwise_or": "{} | {}",
    "bitwise_xor": "{} ^ {}",
    "if_then_else": "{} ? {} : {}",
    "isinf": "__builtin_isinf({}) != 0",
    "isnan": "__builtin_isnan({}) != 0",
    "likely": "{}",
    "shift_left": "{} << {}",
    "shift_right": "{} >> {}",
}
# Functions of math.h, the double's name; float32 takes the name with an f.
_MATH_WORDS = """
    acos acosh asin asinh atan atan2 atanh ceil copysign cos cosh erf exp exp2 fabs floor
    fmod hypot ldexp log log10 log1p log2 nearbyint nextafter pow round rint sin sinh sqrt
    tan tanh trunc expm1 cbrt
"""
_MATH = frozenset(_MATH_WORDS.split())


def c_type(dtype: object) -> str:
    """Return the C type of elements of a TIR `dtype`.

    Raises:
        NoCodeError: there is no portable C type (float16, bfloat16, vectors).
    """
    try:
        return C_TYPES[str(dtype)]
    except KeyError:
        raise NoCodeError(f"computes in {dtype}, which C for this target lacks") from None


def float_literal(value: float, dtype: str) -> str:
    """Return `value` exactly, as a C11 literal or built-in of the type of `dtype`."""
    suffix = "f" if dtype == "float32" else ""
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    if math.isnan(value):
        return f'__builtin_nan{suffix}("")'
    if math.isinf(value):
        return f"({sign}__builtin_inf{suffix}())"
    if value == int(value) and abs(value) < 1e6:
        return f"{sign}{abs(int(value))}.0{suffix}"
    return re.sub(r"\.?0*p", "p", value.hex()) + suffix


def int_literal(value: int, dtype: str, *, wide: bool = False) -> str:
    """Return `value` as a C literal; `wide` gives it at least 32 bits where int has 16."""
    if dtype == "int64":
        return f"(-INT64_C({-value - 1}) - 1)" if value < 0 else f"INT64_C({value})"
    if dtype.startswith("uint"):
        return f"UINT64_C({value})" if dtype == "uint64" else f"UINT32_C({value})"
    if value == -(2**31):
        return "INT32_MIN"
    return f"{value}L" if wide and dtype == "int32" else str(value)


@dataclass(frozen=True)
class Dialect:
    """What the C of a target has: the bits of int, the functions missing from its math.h (without
    the f of float32), and whether double is wider than float.
    """

    int_bits: int = 32
    missing: frozenset[str] = frozenset()
    has_double: bool = True


# avr-libc (its manual, math.h); avr-gcc's double is float by default.
AVR = Dialect(
    int_bits=16,
    missing=frozenset(
        ["acosh", "asinh", "atanh", "erf", "exp2", "expm1", "log1p", "log2", "nextafter"]
    ),
    has_double=False,
)
STANDARD = Dialect()


class ExprPrinter:
    """Prints expressions of one function; `name_of` gives the C name of a variable or buffer.

    `helpers` collects the helper functions and `loads` the elements (buffer, index) that are read.
    """

    def __init__(self, name_of: Callable[[Var], str], dialect: Dialect) -> None:
        self._name_of = name_of
        self._dialect = dialect
        self._lets: dict[Var, str] = {}
        self.helpers: set[str] = set()
        self.loads: set[tuple[str, str]] = set()

    def __call__(self, expr: Expr) -> str:
        """Return `expr` as a C expression that needs no parentheses around it.

        Raises:
            NoCodeError: the expression has no C form here.
        """
        kind = type(expr).__name__
        if kind in _INFIX:
            return self._narrow(expr, f"{self(expr.a)} {_INFIX[kind]} {self(expr.b)}")
        handler: Callable[[Any], str] | None = getattr(self, f"_{kind.lower()}", None)
        if handler is None:
            raise NoCodeError(f"needs a TIR {kind} expression, which has no C form here")
        return handler(expr)

    def c_type(self, dtype: object) -> str:
        """Return the C type of elements of `dtype`.

        Raises:
            NoCodeError: this dialect has none.
        """
        if str(dtype) == "float64" and not self._dialect.has_double:
            raise NoCodeError("computes in float64, which this target's C lacks")
        return c_type(dtype)

    def _narrow(self, expr: Expr, text: str) -> str:
        """Cut the value back to the type TIR gives it where C promotes to int."""
        dtype = str(expr.ty.dtype)
        if dtype in ("int8", "uint8", "int16", "uint16"):
            return f"(({C_TYPES[dtype]})({text}))"
        if dtype == "bool":
            return f"({text})"
        self.c_type(dtype)
        return f"({text})"

    def _mod(self, expr: Any) -> str:
        """Print the remainder of truncating division; C's % is for integers only."""
        dtype = str(expr.ty.dtype)
        if dtype.startswith("float"):
            return self._extern("fmod", expr, (expr.a, expr.b))
        return self._narrow(expr, f"{self(expr.a)} % {self(expr.b)}")

    def _var(self, expr: Var) -> str:
        return self._lets[expr] if expr in self._lets else self._name_of(expr)

    def _intimm(self, expr: Any) -> str:
        return int_literal(int(expr.value), str(expr.ty.dtype), wide=self._dialect.int_bits < 32)

    def _floatimm(self, expr: Any) -> str:
        dtype = str(expr.ty.dtype)
        self.c_type(dtype)
        return float_literal(float(expr.value), dtype)

    def _not(self, expr: Any) -> str:
        return f"(!{self(expr.a)})"

    def _bitwisenot(self, expr: Any) -> str:
        return self._narrow(expr, f"~{self(expr.a)}")

    def _tensorload(self, expr: Any) -> str:
        if len(expr.indices) != 1:
            raise NoCodeError("needs a buffer of more than one dimension after flattening")
        name = self._name_of(expr.source)
        index = self(expr.indices[0])
        self.loads.add((name, index))
        return f"{name}[{index}]"

    def _select(self, expr: Any) -> str:
        yes, no = self(expr.true_value), self(expr.false_value)
        return f"({self(expr.condition)} ? {yes} : {no})"

    def _let(self, expr: Any) -> str:
        """Print the body with the value in place of the variable: evaluated only where used."""
        self._lets[expr.var] = self(expr.value)
        return self(expr.body)

    def _cast(self, expr: Any) -> str:
        dtype, value = str(expr.ty.dtype), self(expr.value)
        return f"({value} != 0)" if dtype == "bool" else f"(({self.c_type(dtype)}){value})"

    def _min(self, expr: Any) -> str:
        return self._extremum("min", expr)

    def _max(self, expr: Any) -> str:
        return self._extremum("max", expr)

    def _extremum(self, which: str, expr: Any) -> str:
        dtype = str(expr.ty.dtype)
        name = f"{which}_{dtype}"
        self.c_type(dtype)
        self.helpers.add(name)
        return f"{name}({self(expr.a)}, {self(expr.b)})"

    def _floordiv(self, expr: Any) -> str:
        return self._floored("floordiv", expr)

    def _floormod(self, expr: Any) -> str:
        return self._floored("floormod", expr)

    def _floored(self, which: str, expr: Any) -> str:
        dtype = str(expr.ty.dtype)
        self.c_type(dtype)
        if dtype.startswith("float"):
            raise NoCodeError(f"needs {which} of {dtype}, which has no C form here")
        if dtype.startswith("uint"):
            return f"({self(expr.a)} {'/' if which == 'floordiv' else '%'} {self(expr.b)})"
        name = f"{which}_{dtype}"
        self.helpers.add(name)
        return f"{name}({self(expr.a)}, {self(expr.b)})"

    def _call(self, expr: Any) -> str:
        op = str(getattr(expr.op, "name", expr.op)).split(".", 1)[-1]
        if op in ("call_pure_extern", "call_extern"):
            return self._extern(str(expr.args[0].value), expr, expr.args[1:])
        form = _CALL_FORMS.get(op)
        if form is None:
            return self._extern(op, expr, expr.args)
        return self._narrow(expr, form.format(*(self(arg) for arg in expr.args)))

    def _extern(self, name: str, expr: Any, args: Any) -> str:
        dtype = str(expr.ty.dtype)
        base = name.removesuffix("f") if name.removesuffix("f") in _MATH else name
        if base not in _MATH or dtype not in ("float32", "float64"):
            raise NoCodeError(f"needs the function {name} of {dtype}, which C here lacks")
        if base in self._dialect.missing:
            raise NoCodeError(f"needs the function {base}, which this target's math.h lacks")
        self.c_type(dtype)
        suffix = "f" if dtype == "float32" else ""
        if base in ("nearbyint", "rint"):
            self.helpers.add(f"nearbyint_{dtype}")
            return f"nearbyint_{dtype}({self(args[0])})"
        return f"{base}{suffix}({', '.join(self(arg) for arg in args)})"


def helper(name: str) -> str:
    """Return the C definition of a helper `ExprPrinter.helpers` names.

    Minimum and maximum are TVM's on the CPU for NaN: ``a < b ? a : b``.
    """
    which, dtype = name.split("_", 1)
    c = C_TYPES[dtype]
    if which == "nearbyint":
        return _nearbyint(name, dtype, c)
    head = f"static inline {c} {name}({c} a, {c} b) {{"
    if which in ("min", "max"):
        return f"{head} return a {'<' if which == 'min' else '>'} b ? a : b; }}"
    if which == "floordiv":
        return f"{head} {c} q = a / b; return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q; }}"
    return f"{head} {c} r = a % b; return (r != 0 && (r < 0) != (b < 0)) ? r + b : r; }}"


def _nearbyint(name: str, dtype: str, c: str) -> str:
    """Return a function that rounds half to even: above 2^23 (2^52) there are no fractions left,
    so adding that drops them as floating-point addition rounds. Some math.h lack nearbyint.
    """
    big = "8388608.0f" if dtype == "float32" else "4503599627370496.0"
    return (
        f"static inline {c} {name}({c} x) {{"
        f" if (!(x > -{big} && x < {big})) return x;"
        f" return x < 0 ? (x - {big}) + {big} : (x + {big}) - {big}; }}"
    )
