"""Other libraries' errors in our words."""

from __future__ import annotations

_REASON_LENGTH = 200


def one_line(error: BaseException) -> str:
    """Return the first line that says something of an error's text, bounded in length."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_REASON_LENGTH]
