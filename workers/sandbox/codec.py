"""Values that come out of a sandbox: JSON and raw bytes, read by the type that is expected.

A pickle can run anything where it is read, so none ever comes out. JSON is read by Python's own
parser; what stands in it is then taken apart by the type that the *outside* names, so that nothing
inside can choose what is made of it. Bytes and arrays stand behind the JSON as they are.

    u32 length of the JSON | JSON {"value": …, "sizes": [n, …]} | the bytes, one after another
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import re
import struct
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Union

import numpy as np
from pydantic import BaseModel, ValidationError

_LENGTH = struct.Struct("<I")
_MOST_JSON = 8 << 20  # in memory it takes up to thirty times that
_MOST_PARTS = 65536
_FAULTS = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    OverflowError,
    RecursionError,
    struct.error,
)
# Bool, integers, floats of known size; never objects. numpy evaluates stranger names.
_DTYPE = re.compile(r"\|b1|[<>|=]?[iuf][1248]|[<>=]?f16")
_DEEPEST_ARRAY = 32


class Malformed(Exception):
    """What came out is not of the type expected."""


def encode(value: Any) -> bytes:
    """Return `value`: None, numbers, text, bytes, enums, sequences, mappings with text keys,
    numpy arrays, dataclasses and pydantic models of these.
    """
    parts: list[bytes] = []
    shown = _plain(value, parts)
    text = json.dumps({"value": shown, "sizes": [len(part) for part in parts]}).encode()
    return b"".join((_LENGTH.pack(len(text)), text, *parts))


def _plain(value: Any, parts: list[bytes]) -> Any:  # noqa: PLR0911 - one line a kind
    if isinstance(value, enum.Enum):
        return _plain(value.value, parts)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | bytearray):
        parts.append(bytes(value))
        return len(parts) - 1
    if isinstance(value, np.generic | np.ndarray):
        array = np.asarray(value)
        parts.append(array.tobytes())
        return [array.dtype.str, list(array.shape), len(parts) - 1]
    if isinstance(value, BaseModel):
        return value.model_dump_json()  # pydantic's own text keeps what JSON has no number for
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: _plain(getattr(value, field.name), parts) for field in fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(each, parts) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [_plain(each, parts) for each in value]
    raise TypeError(f"a {type(value).__name__} cannot come out of a sandbox")


def decode(kind: Any, data: bytes | memoryview) -> Any:
    """Return the value of type `kind` in `data`.

    Raises:
        Malformed: `data` is anything else.
    """
    try:
        (length,) = _LENGTH.unpack_from(data)
        if length > _MOST_JSON:
            raise Malformed("its JSON is too long")
        shown = json.loads(bytes(data[_LENGTH.size : _LENGTH.size + length]))
        value, sizes = shown["value"], shown["sizes"]
        return _typed(kind, value, _Parts(memoryview(data), _LENGTH.size + length, sizes))
    except Malformed:
        raise
    except _FAULTS as error:
        raise Malformed(str(error)[:200] or type(error).__name__) from None


class _Parts:
    """The bytes behind the JSON, each given once at most."""

    def __init__(self, data: memoryview, start: int, sizes: list[int]) -> None:
        if not isinstance(sizes, list) or len(sizes) > _MOST_PARTS:
            raise Malformed("too many parts")
        self._data, self._places = data, {}
        for index, size in enumerate(sizes):
            if type(size) is not int or size < 0:
                raise Malformed("a part without a size")
            self._places[index] = (start, start + size)
            start += size
        if start != len(data):
            raise Malformed("its parts are not as long as it says")

    def take(self, index: Any) -> memoryview:
        if type(index) is not int or index not in self._places:
            raise Malformed("a part that is not there")
        start, end = self._places.pop(index)
        return self._data[start:end]


def _typed(kind: Any, value: Any, parts: _Parts) -> Any:  # noqa: PLR0911 - one line a kind
    """Return what `value` says, taken as a `kind`."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _typed(typing.get_args(kind)[0], value, parts)
    if origin in (Union, types.UnionType):
        return _one_of(typing.get_args(kind), value, parts)
    if kind is np.ndarray or origin is np.ndarray:
        return _array(value, parts)
    if kind is bytes:
        return bytes(parts.take(value))
    if origin is not None:
        return _collection(origin, typing.get_args(kind), value, parts)
    if kind is None or kind is types.NoneType:
        return _exactly(types.NoneType, value)
    if kind is float:
        return float(_exactly((int, float), value))
    if kind is str:
        return _text(value)
    if kind in (bool, int):
        return _exactly(kind, value)
    if issubclass(kind, enum.Enum):
        return kind(value)
    if issubclass(kind, BaseModel):
        return _model(kind, value)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, parts)
    raise TypeError(f"{kind} cannot come out of a sandbox")


def _exactly(kind: Any, value: Any) -> Any:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(value) not in kinds:
        raise Malformed(f"a {type(value).__name__} in place of {kinds[0].__name__}")
    return value


def _text(value: Any) -> str:
    text: str = _exactly(str, value)
    text.encode()  # a lone surrogate could be told to nobody; it raises ValueError
    return text


def _one_of(kinds: tuple[Any, ...], value: Any, parts: _Parts) -> Any:
    """Of a union only ``X | None`` can be told apart for certain, and no other is used."""
    others = [kind for kind in kinds if kind is not types.NoneType]
    if len(others) != 1:
        raise TypeError("of unions only X | None comes out of a sandbox")
    return None if value is None else _typed(others[0], value, parts)


def _collection(origin: Any, inner: tuple[Any, ...], value: Any, parts: _Parts) -> Any:
    if issubclass(origin, Mapping):
        _exactly(dict, value)
        return {_exactly(str, key): _typed(inner[1], each, parts) for key, each in value.items()}
    if not issubclass(origin, Sequence):
        raise TypeError(f"{origin} cannot come out of a sandbox")
    _exactly(list, value)
    if origin is not tuple:
        return [_typed(inner[0], each, parts) for each in value]
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(_typed(inner[0], each, parts) for each in value)
    if len(inner) != len(value):
        raise Malformed(f"{len(value)} values in place of {len(inner)}")
    return tuple(_typed(each, one, parts) for each, one in zip(inner, value, strict=True))


def _array(value: Any, parts: _Parts) -> Any:
    name, shape, index = _exactly(list, value)
    if not _DTYPE.fullmatch(_exactly(str, name)):
        raise Malformed("an array of what is no number")
    dtype = np.dtype(name)
    if len(shape) > _DEEPEST_ARRAY or any(type(n) is not int or n < 0 for n in shape):
        raise Malformed("an array with an odd shape")
    data = parts.take(index)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise Malformed("an array that is not as long as its shape")
    return np.frombuffer(bytearray(data), dtype).reshape(shape)  # one copy, and writable


def _model(kind: Any, value: Any) -> Any:
    try:
        return kind.model_validate_json(_exactly(str, value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{kind.__name__}: {where}: {first['msg']}"[:200]) from None


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _dataclass(kind: Any, value: Any, parts: _Parts) -> Any:
    hints = _hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    if sorted(_exactly(dict, value)) != sorted(names):
        raise Malformed(f"its parts are not those of a {kind.__name__}")
    return kind(**{name: _typed(hints[name], value[name], parts) for name in names})
