"""Digests and the canonical JSON they are taken over."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def canonical_json(value: Any) -> bytes:
    """Return the one UTF-8 encoding of `value`: sorted keys, no blanks, no NaN.

    Raises:
        ValueError: `value` holds a NaN or an infinity.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def sha256(data: bytes) -> str:
    """Return the lower-case hexadecimal SHA-256 of `data` (64 characters)."""
    return hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value`."""
    return sha256(canonical_json(value))
