"""Values that come out of a sandbox: whole if honest, refused if not of the type expected."""

from __future__ import annotations

import contextlib
import json
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinymlaas.contract.base import Model
from workers.sandbox import codec
from workers.sandbox.codec import Malformed


class Colour(StrEnum):
    RED = "red"


class Fact(Model):
    name: str
    size: float


@dataclass(frozen=True)
class Inner:
    array: NDArray[Any]
    colour: Colour | None


@dataclass(frozen=True)
class Outer:
    parts: tuple[Inner, ...]
    files: dict[str, bytes]
    fact: Fact
    pair: tuple[int, bool]


VALUE = Outer(
    parts=(Inner(np.arange(6, dtype="<i2").reshape(2, 3), Colour.RED), Inner(np.zeros(0), None)),
    files={"a/b.c": b"\x00\xff", "d": b""},
    fact=Fact(name="é", size=0.1),
    pair=(1 << 70, True),
)


def test_a_value_comes_out_as_it_was() -> None:
    found = codec.decode(Outer, codec.encode(VALUE))
    assert (found.files, found.fact, found.pair) == (VALUE.files, VALUE.fact, VALUE.pair)
    assert [part.colour for part in found.parts] == [Colour.RED, None]
    for part, before in zip(found.parts, VALUE.parts, strict=True):
        assert part.array.dtype == before.array.dtype
        np.testing.assert_array_equal(part.array, before.array)


def made(value: object, *parts: bytes) -> bytes:
    text = json.dumps({"value": value, "sizes": [len(part) for part in parts]}).encode()
    return b"".join((struct.pack("<I", len(text)), text, *parts))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (int, made(True)),
        (int, made("1")),
        (bool, made(1)),
        (str, made(None)),
        (float, made("nan")),
        (bytes, made(0)),
        (bytes, made(-1, b"x")),
        (tuple[bytes, bytes], made([0, 0], b"x")),
        (tuple[int, int], made([1])),
        (tuple[int, ...], made({"0": 1})),
        (dict[str, int], made([1])),
        (Colour, made("blue")),
        (Fact, made('{"name": "x"}')),
        (Fact, made({"name": "x", "size": 1})),
        (Inner, made({"array": ["<i2", [2], 0]}, b"1234")),
        (Inner, made({"array": ["<i2", [2], 0], "colour": None, "more": 1}, b"1234")),
        (np.ndarray, made(["|O", [1], 0], b"12345678")),
        (np.ndarray, made(["<f4", [3], 0], b"1234")),
        (np.ndarray, made(["<f4", [-1], 0], b"")),
        (np.ndarray, made(["<f4", [1 << 40, 1 << 40], 0], b"1234")),
        (np.ndarray, made(["<f4", [True], 0], b"1234")),
        (np.ndarray, made(["V8", [1], 0], b"12345678")),
        (np.ndarray, made(["(2,f4", [1], 0], b"1234")),
        (float, made(10**400)),
        (str, made("\ud800")),
        (int, b""),
        (int, b"\xff\xff\xff\xff"),
        (int, struct.pack("<I", 4) + b"nope"),
        (int, made(1) + b"more"),
        (int, struct.pack("<I", 200_000) + b"[" * 200_000),
    ],
)
def test_what_is_not_of_the_type_is_refused(kind: Any, data: bytes) -> None:
    with pytest.raises(Malformed):
        codec.decode(kind, data)


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_no_bytes_whatever_raise_anything_else(noise: bytes, at: int, byte: int) -> None:
    whole = bytearray(codec.encode(VALUE))
    whole[at % len(whole)] = byte
    for data in (noise, bytes(whole), bytes(whole[:at])):
        with contextlib.suppress(Malformed):
            codec.decode(Outer, data)


def test_an_object_never_comes_out() -> None:
    with pytest.raises(TypeError, match="cannot come out"):
        codec.encode(object())
