"""Bytes from outside into messages: size, depth and JSON are checked before anything is believed.

Every refusal is one typed line that names the place of the fault and never repeats long input.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

from tinymlaas.contract.base import Model
from tinymlaas.contract.errors import Rejection, one_line

MAX_BYTES = 256 * 1024  # what anyone may send: two payloads inline and a request around them
MAX_TRUSTED_BYTES = 8 * 1024 * 1024  # between scheduler and pools: a task carries a model's summary
MAX_DEPTH = 24
_SHOWN = 80
_LISTED = 3

M = TypeVar("M", bound=Model)


class MalformedMessage(Rejection):
    """A message that is none of ours; sending the same again will fail again."""


def parse(data: bytes, kind: type[M], limit: int = MAX_BYTES) -> M:
    """Return the message in `data`, UTF-8 JSON of at most `limit` bytes and `MAX_DEPTH` levels.

    Types are taken strictly (no number in a string), keys may not repeat.

    Raises:
        MalformedMessage: `data` is no such message.
    """
    loads(data, limit)
    try:
        return kind.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise MalformedMessage(faults(error)) from None


def loads(data: bytes, limit: int = MAX_BYTES) -> Any:
    """Return the JSON value in `data`, checked as `parse` does but for its meaning.

    Raises:
        MalformedMessage: it is too large, no JSON, too deep, or has a key twice in one object.
    """
    if len(data) > limit:
        raise MalformedMessage(f"the message has {len(data):,} bytes; up to {limit:,} are taken")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError:
        raise MalformedMessage("the message is not UTF-8 text") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise MalformedMessage(f"the message is not JSON: {_short(str(error))}") from None
    _check_depth(value)
    return value


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


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for values in inner for each in values if isinstance(each, dict | list)]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> MalformedMessage:
    return MalformedMessage(f"the message is nested more than {MAX_DEPTH} levels deep")


def faults(error: ValidationError) -> str:
    """Return the first faults of `error` with their places, without what was sent."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = [_fault(fault["loc"], fault["msg"]) for fault in faults[:_LISTED]]
    more = f" (and {len(faults) - _LISTED} more)" if len(faults) > _LISTED else ""
    return "; ".join(told) + more


def _fault(place: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    where = ".".join(_short(str(part)) for part in place[:8])
    return f"{where}: {_short(message, 200)}" if where else _short(message, 200)


def _short(text: str, limit: int = _SHOWN) -> str:
    folded = one_line(text)
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"
