"""Reading the files a user names, of whatever kind and size they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.quantisation import QuantisationReport
from tinymlaas.contract.report import CandidateReport


@dataclass(frozen=True)
class Form:
    """A model file in the form it came in, or as it was quantised on the way.

    `lacking` stands in the report for a form that cannot be had, and says why.
    """

    path: Path
    quantisation: QuantisationReport | None = None
    lacking: CandidateReport | None = None


def read_input(path: Path, what: str, limit: int) -> bytes:
    """Return the content of `path`, a file or pipe of at most `limit` bytes; `what` names it.

    Raises:
        UsageError: it is not there, cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror or error}") from None
    if len(data) > limit:
        raise UsageError(f"the {what} {path} is larger than {limit:,} bytes")
    return data


def symbol_prefix(path: Path) -> str:
    """Return a C identifier made of the file's stem: the prefix of the module's symbols."""
    stem = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")[:40] or "model"
    return stem if stem[0].isalpha() else f"m_{stem}"


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36_500)  # from now, either way, it must be a date
_LAST_YEAR = 9998  # the next is one only in some time zones


def parse_duration(text: str, what: str) -> timedelta:
    """Parse ``90s``, ``30m``, ``2h``, ``30d`` or ``4w``; `what` names the option.

    Raises:
        UsageError: it is none of these.
    """
    found = re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip())
    if found is None:
        raise UsageError(f"{what} {text[:80]}: write a number with s, m, h, d or w, as in 30d")
    duration = timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})
    if duration > _LONGEST:
        raise UsageError(f"{what} {text[:80]}: that is more than {_LONGEST.days:,} days")
    return duration


def parse_moment(text: str, what: str) -> datetime:
    """Parse a duration from now, or an RFC 3339 time with its offset; `what` names the option.

    Raises:
        UsageError: it is neither.
    """
    try:
        moment = datetime.fromisoformat(text.strip().upper())
    except ValueError:
        moment = None
    if moment is None:
        return datetime.now(UTC) + parse_duration(text, what)
    if moment.tzinfo is None:
        raise UsageError(f"{what} {text[:80]}: say the time zone, as in 2026-01-31T12:00:00Z")
    if moment.year > _LAST_YEAR:
        raise UsageError(f"{what} {text[:80]}: that is after the year {_LAST_YEAR}")
    return moment
