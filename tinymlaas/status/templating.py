"""Templates to HTML: everything is escaped, and what could play tricks with the text is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tinymlaas import words

FOLDER = Path(__file__).parent
_TAB = "    "
_SHORT = 12
_SIGNS = {
    "queued": "○",
    "waiting": "○",
    "planning": "◔",
    "compiling": "◐",
    "running": "◐",
    "done": "✓",
    "verified": "✓",
    "built": "△",
    "failed": "✕",
    "rejected": "⊘",
    "quarantined": "⚠\ufe0e",
    "cancelled": "–",
    "skipped": "–",
}


class Templates:
    """All templates, compiled once; safe to share between threads."""

    def __init__(self) -> None:
        """Read nothing yet."""
        self._known = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._known.filters |= {
            "clock": clock,
            "duration": words.seconds,
            "iso": iso,
            "number": words.number,
            "short": _short,
            "sign": lambda state: _SIGNS.get(str(state), "·"),
            "took": took,
        }

    def page(self, name: str, **facts: Any) -> bytes:
        """Return the page that the template `name` makes of `facts`."""
        return self._known.get_template(name).render(**facts).encode()


def clean(text: str) -> str:
    """Return `text` with characters that are not seen, or turn text around, written out."""
    if text.isprintable():  # as nearly all is
        return text
    text = text.replace("\t", _TAB)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def clock(time: datetime) -> str:
    """Return the time of day."""
    return f"{time.astimezone(UTC):%H:%M:%S} UTC"


def iso(time: datetime) -> str:
    """Return date and time as RFC 3339 has them."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def took(value: float) -> str:
    """Return how long something took, finer than `words.seconds` where it is short."""
    return f"{value:.1f} s" if value < 10 else words.seconds(value)


def _shown(value: object) -> object:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _short(job_id: str) -> str:
    return job_id if len(job_id) <= _SHORT + 1 else f"{job_id[:_SHORT]}…"
