"""One event, one line: how a line looks, and what never gets into one.

What jobs bring (names of models, words of compilers) is data: it can neither end a line nor make a
field. Standard library only, as the signer, which is kept small, writes such lines too.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

CONSOLE, JSON = "console", "json"
LOG_FORMAT_VARIABLE = "TINYMLAAS_LOG_FORMAT"
FORMATS = (CONSOLE, JSON)
HIDDEN = "***"

_MOST = 2048  # characters of one value
_MARGIN = 512  # so that no half of a secret is left at the cut
_TRACE = 16 * 1024  # characters of a traceback: its end, which says what went wrong
_SHORT = 128
_DEEPEST = 6
_LEAST_SECRET = 6  # characters: a shorter one would take harmless words along
_LONG_SECRET = 16  # from here on it is hidden within a word, too
_SECRET_NAME = re.compile(
    r"(?i)passw|passphrase|secret|token|authorization|credential|cookie|(api|access|private)_?key"
)
# Without one of these words none of the patterns matches: most values have none.
_HINT = re.compile(
    r"passw|secret|token|signature|credential|authorization|access|api|://|bearer|basic|-----begin"
)
_NO_SECRET = ("_ID", "_FILE", "_PATH")  # who it is or where, as of AWS_ACCESS_KEY_ID
# All repetitions that can be tried from many places are bounded: a hostile text takes no longer.
_SECRETS = (
    (re.compile(r"(://[^\s:/@\"']*):[^\s/\"']*@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"(?i)((?:passw(?:or)?d|secret|token|signature|credential|authorization|access_?key"
            r"|api_?key)[\w-]{0,20}(?:=|[\"']\s*[:=]\s*)[\"']?)[^\s\"'&,;}]+"
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(
            r"(?s)-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(-----END [A-Z ]{0,40}-----|\Z)"
        ),
        HIDDEN,
    ),
)
_FIRST = ("timestamp", "level", "event", "logger", "service", "process", "pool")
_SHOWN_BEFORE = frozenset({*_FIRST, "exception", "host"})


class Cleaner:
    """Takes out of what is logged the secrets that are known, and what looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Hide `secrets`, plain or as they stand in a URL."""
        known = {form for each in secrets for form in (each, quote(each, ""), unquote(each))}
        longest = sorted((s for s in known if len(s) >= _LEAST_SECRET), key=len, reverse=True)
        # Names of fields, processes, tenants, actions: most of what is short comes again.
        self._short = functools.lru_cache(maxsize=4096)(self._cleaned)
        self._known = re.compile("|".join(map(_found, longest))) if longest else None

    def text(self, text: str) -> str:
        """Return `text` without secrets, cut to a length that a log bears."""
        return self._cleaned(text) if len(text) > _SHORT else self._short(text)

    def trace(self, text: str) -> str:
        """Return a traceback without secrets; of a long one the end."""
        return self._hidden(text[-8 * _TRACE :])[-_TRACE:]

    def _cleaned(self, text: str) -> str:
        size, found = len(text), self._hidden(text[: _MOST + _MARGIN])
        if size > _MOST + _MARGIN:  # what it ends with may be half of a secret
            found = found[:-_MARGIN]
        return found if size <= _MOST else f"{found[:_MOST]} … ({size:,} characters)"

    def _hidden(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        if _HINT.search(text.lower()) is not None:
            for pattern, instead in _SECRETS:
                text = pattern.sub(instead, text)
        return text

    def value(self, value: object, depth: int = 0) -> object:
        """Return `value` as plain data without secrets; what is no plain data as its text."""
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, Mapping) and depth < _DEEPEST:
            return self.event(value, depth + 1)
        if isinstance(value, list | tuple | set | frozenset) and depth < _DEEPEST:
            return [self.value(each, depth + 1) for each in value]
        return self.text(str(value))

    def event(self, event: Mapping[str, object], depth: int = 0) -> dict[str, object]:
        """Return all fields without secrets: neither in what they say, nor by their name."""
        return {
            self.text(str(name)): self._field(str(name), value, depth)
            for name, value in event.items()
        }

    def _field(self, name: str, value: object, depth: int) -> object:
        if isinstance(value, str) and _is_secret(name):
            return HIDDEN
        if isinstance(value, str) and name == "exception":
            return self.trace(value)
        return self.value(value, depth)


def _found(secret: str) -> str:
    """Return the pattern of a secret; a short one may be part of a word, as of our own names."""
    pattern = re.escape(secret)
    return pattern if len(secret) >= _LONG_SECRET else rf"(?<![\w-]){pattern}(?![\w-])"


@functools.lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Return the secrets in a process's environment: by the names of variables, and in URLs."""
    names = (name for name in environment if _SECRET_NAME.search(name))
    found = [environment[name] for name in names if not name.endswith(_NO_SECRET)]
    for name, value in environment.items():
        if (inside := re.match(r"\w+://[^\s:/@]*:([^\s/]*)@", value)) is not None:
            found.append(inside[1])
        if name.startswith("OTEL_") and name.endswith("_HEADERS"):
            found += [each.partition("=")[2].strip() for each in value.split(",")]
    return found


def as_json(event: Mapping[str, object]) -> str:
    """Return a line of JSON, in ASCII: no character of it can end the line or hide another."""
    first = {name: event[name] for name in _FIRST if event.get(name) is not None}
    return json.dumps(first | {k: v for k, v in event.items() if k not in first})


def as_text(event: Mapping[str, object]) -> str:
    """Return a line for people, and below it, indented, the traceback if there is one."""
    at, level = str(event.get("timestamp", ""))[11:19], str(event.get("level", "info")).upper()
    said = str(event.get("event", ""))
    said = _quoted(said) if "=" in said else _printable(said)  # it must not look like fields
    rest = (f"{_printable(k)}={_quoted(v)}" for k, v in event.items() if k not in _SHOWN_BEFORE)
    line = " ".join([f"{at}Z", str(event.get("process", "")), level, said, *rest])
    trace = str(event.get("exception") or "")
    return "\n".join([line, *(f"  | {_printable(each)}" for each in trace.splitlines())])


def render(event: Mapping[str, object], form: str) -> str:
    """Return `event` in one of `FORMATS`."""
    return as_json(event) if form == JSON else as_text(event)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if not isinstance(value, str) or re.fullmatch(r"[\w./:@+*,-]+", text, re.ASCII):
        return text
    return '"' + _printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def now() -> str:
    """Return the time in UTC, as RFC 3339 has it, to the microsecond."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class LineFormatter(logging.Formatter):
    """Records of the standard library as such lines, for a process without structlog."""

    def __init__(self, form: str, cleaner: Cleaner, **who: str) -> None:
        """Write in `form`, each line with the fields of `who`."""
        super().__init__()
        self._form = form
        self._cleaner = cleaner
        self._who = who

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        event: dict[str, object] = {
            "timestamp": now(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **self._who,
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return render(self._cleaner.event(event), self._form)
