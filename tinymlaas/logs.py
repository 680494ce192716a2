"""The log of a process of the farm: structlog, for our own loggers and everybody else's alike.

One event is one line: what happened in a constant phrase, then fields. Who runs it (service,
process, pool) and what it was done for (job, task, trace) are among them. docs/logs-and-traces.md
lists them.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TextIO

import structlog

from tinymlaas import log_context
from tinymlaas.log_lines import CONSOLE, JSON, Cleaner, now, render, secrets_of

SCHEDULER_SERVICE = "tinymlaas-scheduler"
WORKER_SERVICE = "tinymlaas-worker"

# It calls each failed connection critical; our own connections say the same, once.
_UNHEARD = ("dramatiq.worker.ConsumerThread",)
# What these say about lost connections is told by us in a line; theirs are pages.
_MUTED = ("pika", "opentelemetry")
_QUIET = ("boto3", "botocore", "dramatiq", "requests", "urllib3")
_FRAMES = 40

_Event = MutableMapping[str, Any]
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class Style:
    """From which level on lines are written, and in which of `log_lines.FORMATS`."""

    level: int = logging.INFO
    form: str = CONSOLE


class _Who:
    """The fields of the process itself; some are known only once it has begun."""

    fields: dict[str, str] = {}
    form = CONSOLE


def get_logger(name: str) -> Any:
    """Return a logger whose keyword arguments are fields; before `configure` it is as any other of
    the standard library's.
    """
    return structlog.stdlib.get_logger(name)


def configure(
    style: Style,
    who: Mapping[str, str],
    environment: Mapping[str, str] = os.environ,
    stream: TextIO | None = None,
) -> None:
    """Write the log to stderr from now on, each line with the fields of `who`.

    No secret of `environment` is written, wherever it comes from.
    """
    _Who.fields, _Who.form = dict(who), style.form
    cleaner = Cleaner(secrets_of(environment))
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_formatter(style.form, cleaner))
    handler.addFilter(lambda record: not record.name.startswith(_UNHEARD))
    logging.basicConfig(level=style.level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in _MUTED:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(style.level, logging.WARNING))
    sys.excepthook = _ended_by
    threading.excepthook = _thread_ended_by


def identify(**who: str) -> None:
    """Have each line bear more fields of the process: a worker's name is known late."""
    _Who.fields |= who


def tell_reasons(reasons: tuple[str, ...], form: str | None = None) -> None:
    """Say on stderr why the process ends: a line each for people, or one event."""
    cleaner = Cleaner(secrets_of(os.environ))
    if (form or _Who.form) == JSON:
        said: dict[str, object] = {
            "timestamp": now(),
            "level": "error",
            "event": "cannot go on",
            "reasons": reasons,
        }
        said |= _Who.fields
        print(render(cleaner.event(said), JSON), file=sys.stderr)
    else:
        for reason in reasons:
            print(f"error: {cleaner.text(reason)}", file=sys.stderr)
    sys.stderr.flush()


def _formatter(form: str, cleaner: Cleaner) -> logging.Formatter:
    """Return what makes lines of our own events and of other libraries' records."""
    ours: list[Any] = [
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]
    structlog.configure(
        processors=ours,
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            _add_who,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            _traceback(form),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            lambda _, __, event: render(cleaner.event(event), form),
        ],
    )


def _add_who(_: object, __: str, event: _Event) -> _Event:
    """Add time, process and what is bound: last, so that no record's own fields can pass as them.

    The formatter runs on the thread that logs, so the context is that of the event.
    """
    record = event.get("_record")
    if record is not None and record.exc_info and "exc_info" not in event:
        event["exc_info"] = record.exc_info
    for name, value in log_context.fields().items():
        event.setdefault(name, value)
    event.update(_Who.fields)
    event["timestamp"] = now()
    return event


def _traceback(form: str) -> Any:
    """Return the processor for exceptions: data in JSON, and never the values of variables."""
    if form == CONSOLE:
        return structlog.processors.format_exc_info
    frames = structlog.tracebacks.ExceptionDictTransformer(
        show_locals=False, max_frames=_FRAMES, use_rich=False
    )
    return structlog.processors.ExceptionRenderer(frames)


def _ended_by(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _log.critical("ended by a fault of its own", exc_info=(kind, error, trace))


def _thread_ended_by(found: threading.ExceptHookArgs) -> None:
    if found.exc_type is SystemExit or found.exc_value is None:
        return
    name = found.thread.name if found.thread else "unknown"
    trace = (found.exc_type, found.exc_value, found.exc_traceback)
    _log.critical("a thread ended by a fault of its own", thread=name, exc_info=trace)
