"""Sizes as people write them: ``"640 KiB"``."""

from __future__ import annotations

import re
from decimal import Decimal

_SIZE = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(B|KiB|MiB|GiB)\s*")
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def parse_bytes(text: str) -> int:
    """Return the bytes `text` stands for; units are powers of 1024 and say so (KiB, MiB, GiB).

    Raises:
        ValueError: not a number and such a unit, or not a whole number of bytes.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(
            f'must be an integer or a text such as "640 KiB" (units: {", ".join(_BYTES)}), '
            f'not "{text}"'
        )
    size = Decimal(match[1].replace("_", "")) * _BYTES[match[2]]
    if size != int(size):
        raise ValueError(f'"{text}" is not a whole number of bytes')
    return int(size)
