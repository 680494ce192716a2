"""JSON from outside: read once, strictly, every fault a `VerificationError` with its reason."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from tinymlaas.contract.errors import VerificationError


def loads(data: bytes, what: str) -> Any:
    """Return the value of UTF-8 JSON text; `what` names it in the reason.

    Stricter than Python's own reader: an object with the same key twice, NaN, an infinity or a
    number beyond float64 is refused, for two readers might take them differently.

    Raises:
        VerificationError: `data` is not such a text.
    """
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError:
        raise VerificationError(f"{what} is malformed: it is not UTF-8 text") from None
    except RecursionError:
        raise VerificationError(f"{what} is malformed: it is nested too deeply") from None
    except ValueError as error:
        raise VerificationError(f"{what} is malformed: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has the same key twice")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
