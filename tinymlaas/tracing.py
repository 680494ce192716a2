"""Spans, where they are wanted: a small port, what does nothing, and the choice between the two.

What a process does is told by OpenTelemetry's usual variables; without an endpoint for OTLP nothing
of OpenTelemetry is even loaded (`tinymlaas.otlp` is what does the work).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from tinymlaas.contract.errors import UsageError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
FLUSH_SECONDS = 5.0
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_COMPRESSIONS = ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION")
_QUEUE, _BATCH = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
_COUNTS = (_QUEUE, _BATCH, "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT")
_USUAL = {_QUEUE: 2048, _BATCH: 512}
_RATIOS = ("traceidratio", "parentbased_traceidratio")
_SAMPLERS = ("always_on", "always_off", "parentbased_always_on", "parentbased_always_off", *_RATIOS)

Value = str | bool | int | float


class Context(NamedTuple):
    """A span elsewhere, as W3C trace context names it."""

    traceparent: str
    tracestate: str | None = None

    @property
    def ids(self) -> dict[str, str]:
        """Trace and span as logs name them."""
        _, trace_id, span_id, _ = self.traceparent.split("-")
        return {"trace_id": trace_id, "span_id": span_id}


class Kind(Enum):
    """On which side of a queue a span is."""

    INTERNAL = "internal"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Span(Protocol):
    """Something that takes time. No method waits for anything, or raises."""

    @property
    def context(self) -> Context | None:
        """By what others link to it; None if nothing is traced."""
        ...

    def set(self, facts: Mapping[str, Value]) -> None:
        """Add attributes."""
        ...

    def event(self, name: str, facts: Mapping[str, Value] | None = None) -> None:
        """Note that something happened now."""
        ...

    def link(self, context: Context) -> None:
        """Note that it has to do with another span."""
        ...

    def end(self, error: str = "") -> None:
        """End it now, badly if there is an `error`."""
        ...


class Tracing(Protocol):
    """Where spans go."""

    def begin(
        self,
        name: str,
        *,
        parent: Span | None = None,
        links: Sequence[Context] = (),
        kind: Kind = Kind.INTERNAL,
        facts: Mapping[str, Value] | None = None,
        ago: float = 0.0,
    ) -> Span:
        """Begin a span, or note that one began some seconds `ago`; without a `parent` it begins a
        trace of its own.
        """
        ...

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Send what is left, for `seconds` at most."""
        ...


class NoSpan:
    """`Span` of which nothing is kept."""

    context: Context | None = None

    def set(self, facts: Mapping[str, Value]) -> None:
        """See `Span.set`."""

    def event(self, name: str, facts: Mapping[str, Value] | None = None) -> None:
        """See `Span.event`."""

    def link(self, context: Context) -> None:
        """See `Span.link`."""

    def end(self, error: str = "") -> None:
        """See `Span.end`."""


NO_SPAN = NoSpan()


class NoTracing:
    """`Tracing` that keeps nothing."""

    def begin(
        self,
        name: str,
        *,
        parent: Span | None = None,
        links: Sequence[Context] = (),
        kind: Kind = Kind.INTERNAL,
        facts: Mapping[str, Value] | None = None,
        ago: float = 0.0,
    ) -> Span:
        """See `Tracing.begin`."""
        return NO_SPAN

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """See `Tracing.close`."""


def traces_wanted(environment: Mapping[str, str]) -> bool:
    """Return whether spans are to be exported, by OpenTelemetry's variables.

    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

    Raises:
        UsageError: one of them cannot be heeded; each has its reason.
    """

    def said(*names: str) -> tuple[str, str]:
        found = ((name, environment.get(name, "").strip()) for name in names)
        return next(((name, text) for name, text in found if text), (names[-1], ""))

    exporter = said("OTEL_TRACES_EXPORTER")[1]
    off = said("OTEL_SDK_DISABLED")[1].lower() == "true" or exporter == "none"
    if off or not said(*ENDPOINTS)[1]:
        return False
    sampler = said("OTEL_TRACES_SAMPLER")
    samplers, squeezed = "|".join(_SAMPLERS), "none|gzip|deflate"
    wrong = [
        *_wrong(said("OTEL_TRACES_EXPORTER"), "otlp", "otlp or none"),
        *_wrong(said(*_PROTOCOLS), "http/protobuf", "http/protobuf"),
        *_wrong(said(*_TIMEOUTS), r"[0-9]{1,6}", "whole seconds"),
        *_wrong(said(*_COMPRESSIONS), squeezed, squeezed.replace("|", ", ")),
        *_wrong(sampler, samplers, f"one of {', '.join(_SAMPLERS)}"),
        *_wrong_counts([said(name) for name in _COUNTS]),
    ]
    if sampler[1].lower() in _RATIOS:
        ratio = said("OTEL_TRACES_SAMPLER_ARG")
        wrong += _wrong(ratio, r"0(\.[0-9]+)?|1(\.0+)?", "a ratio from 0 to 1")
    name, address = said(*ENDPOINTS)
    if not _is_address(address):
        wrong.append(f"{name} must be an http or https URL")
    if wrong:
        raise UsageError(*wrong)
    return True


def _wrong(said: tuple[str, str], pattern: str, meaning: str) -> list[str]:
    """Return what is wrong with what is said; nothing if nothing is said."""
    name, text = said
    sound = not text or re.fullmatch(pattern, text.lower()) is not None
    return [] if sound else [f"{name} must be {meaning}, not '{text[:80]}'"]


def _wrong_counts(said: Sequence[tuple[str, str]]) -> list[str]:
    """Return what is wrong with how many spans wait, and go at once; the SDK takes no fewer of the
    first than of the second.
    """
    wrong = [each for one in said for each in _wrong(one, r"0*[1-9][0-9]{0,8}", "a whole number")]
    if not wrong:
        found = {name: int(text) for name, text in said if text}
        queue, batch = (found.get(name, _USUAL[name]) for name in (_QUEUE, _BATCH))
        if batch > queue:
            wrong.append(f"{_BATCH} ({batch}) must be {_QUEUE} ({queue}) or less")
    return wrong


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
