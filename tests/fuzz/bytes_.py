"""Mutations of bytes whose meaning is not known: a pure function of the bytes and four numbers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

INTERESTING = (
    *(0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 63, 64, 100, 127, 128, 129, 255, 256, 257, 1000, 4095),
    *(4096, 32767, 32768, 65535, 65536, 65537, 1 << 20, (1 << 24) - 1, 1 << 28, (1 << 31) - 1),
    *(1 << 31, (1 << 31) + 1, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 53) + 1),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 4, (1 << 64) - 128, (1 << 64) - (1 << 31)),
)
_WIDTHS = ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))
_MOST = 1 << 18  # a mutant grows no further: more of the same finds nothing new

Mutation = Callable[[bytes, int, int, int, Sequence[bytes]], bytes]


def interesting(number: int) -> int:
    """Return a number at an edge of something."""
    return INTERESTING[number % len(INTERESTING)]


def flip(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    place = a % len(data)
    return data[:place] + bytes([data[place] ^ 1 << b % 8]) + data[place + 1 :]


def overwrite(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Put a number of some width over what is there, aligned or not, in either byte order."""
    width, letter = _WIDTHS[c % 4]
    value = interesting(b) & ((1 << 8 * width) - 1)
    place = a % len(data)
    if c & 4:
        place -= place % width
    packed = struct.pack((">" if c & 8 else "<") + letter, value)
    return (data[:place] + packed + data[place + width :])[: max(len(data), width)]


def add(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Add a small number to an aligned 32-bit number: lengths and offsets that are nearly right."""
    if len(data) < 4:
        return data
    place = a % (len(data) // 4) * 4
    (value,) = struct.unpack_from("<I", data, place)
    changed = value + (b % 17 - 8) * (1, 4)[c % 2] & 0xFFFFFFFF
    return data[:place] + struct.pack("<I", changed) + data[place + 4 :]


def truncate(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    return data[: a % len(data)]


def delete(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    place = a % len(data)
    return data[:place] + data[place + 1 + b % 64 :]


def repeat(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    place = a % len(data)
    chunk = data[place : place + 1 + b % 256]
    return data[:place] + chunk * (1 + c % 64) + data[place:]


def splice(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Put a piece of another seed in, or over what is there."""
    other = others[c % len(others)]
    if not other:
        return data
    start = b % len(other)
    piece = other[start : start + 1 + (b >> 8) % 512]
    place = a % len(data)
    return data[:place] + piece + data[place + (len(piece) if a & 1 else 0) :]


def swap(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Exchange two aligned 32-bit words: offsets that lead elsewhere."""
    if len(data) < 8:
        return data
    one, other = (number % (len(data) // 4) * 4 for number in (a, b))
    changed = bytearray(data)
    changed[one : one + 4], changed[other : other + 4] = (
        changed[other : other + 4],
        changed[one : one + 4],
    )
    return bytes(changed)


BYTES: tuple[Mutation, ...] = (flip, overwrite, add, truncate, delete, repeat, splice, swap)


def apply(
    data: bytes, mutation: Mutation, numbers: tuple[int, int, int], others: Sequence[bytes]
) -> bytes:
    """Return `data` changed; nothing cannot be changed and stays."""
    return mutation(data, *numbers, others)[:_MOST] if data else data
