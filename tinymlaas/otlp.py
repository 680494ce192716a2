"""Spans by OpenTelemetry's SDK, exported by OTLP over HTTP, as its own variables say.

A collector that is away costs spans and nothing else: they are handed over on a thread of their
own, at most `OTEL_BSP_MAX_QUEUE_SIZE` (2,048) wait, and what is wrong is logged every few minutes.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.context import Context as Surroundings
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace import Span as ApiSpan

from tinymlaas import __version__
from tinymlaas.tracing import FLUSH_SECONDS, Context, Kind, Span, Value

_SAY_AGAIN_SECONDS = 300.0
_KINDS = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.PRODUCER: SpanKind.PRODUCER,
    Kind.CONSUMER: SpanKind.CONSUMER,
}
_log = logging.getLogger(__name__)


class OtlpSpan:
    """`tinymlaas.tracing.Span`."""

    def __init__(self, inner: ApiSpan) -> None:
        """Wrap `inner`."""
        self.inner = inner

    @property
    def context(self) -> Context | None:
        """See `Span.context`."""
        found = self.inner.get_span_context()
        flags = f"{found.trace_flags:02x}"
        return Context(f"00-{found.trace_id:032x}-{found.span_id:016x}-{flags}")

    def set(self, facts: Mapping[str, Value]) -> None:
        """See `Span.set`."""
        self.inner.set_attributes(dict(facts))

    def event(self, name: str, facts: Mapping[str, Value] | None = None) -> None:
        """See `Span.event`."""
        self.inner.add_event(name, facts)

    def link(self, context: Context) -> None:
        """See `Span.link`."""
        self.inner.add_link(_remote(context))

    def end(self, error: str = "") -> None:
        """See `Span.end`."""
        if error:
            self.inner.set_status(Status(StatusCode.ERROR, error[:500]))
        self.inner.end()


class OtlpTracing:
    """`tinymlaas.tracing.Tracing`."""

    def __init__(
        self,
        service: str,
        facts: Mapping[str, str],
        *,
        follow_links: bool = False,
        exporter: SpanExporter | None = None,
    ) -> None:
        """Export, by OTLP or `exporter`, for `service` unless OTEL_SERVICE_NAME says otherwise."""
        _unset_empty()
        ours = Resource({"service.name": service, "service.version": __version__, **facts})
        resource = Resource.create(ours.merge(OTELResourceDetector().detect()).attributes)
        # Not at exit: `close` is bounded, and what is there at exit has been closed.
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        if follow_links:
            provider.sampler = _AsLinked(provider.sampler)
        self._processor = BatchSpanProcessor(_Patient(exporter or OTLPSpanExporter()))
        provider.add_span_processor(self._processor)
        self._provider = provider
        self._tracer = provider.get_tracer("tinymlaas", __version__)

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
        above = Surroundings()
        if isinstance(parent, OtlpSpan):
            above = set_span_in_context(parent.inner, above)
        return OtlpSpan(
            self._tracer.start_span(
                name,
                context=above,
                kind=_KINDS[kind],
                attributes=facts,
                links=[Link(_remote(each)) for each in links],
                start_time=time.time_ns() - int(ago * 1e9) if ago else None,
            )
        )

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """See `Tracing.close`."""
        # The SDK waits for its thread however long the collector takes: so we wait, and no longer.
        ending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(seconds)
        if ending.is_alive():
            _log.warning("the last spans are not exported", extra={"seconds": seconds})


class _Patient(SpanExporter):
    """Exports by another, and says every few minutes that it cannot, if so."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._said_at = -_SAY_AGAIN_SECONDS
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand `spans` over; what cannot be is lost."""
        why = "the collector refuses them, or answers with errors"
        try:
            result = self._inner.export(spans)
        except Exception as error:  # whatever it is, it is no job's affair
            result, why = SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            self._say(why)
        return result

    def shutdown(self) -> None:
        """End."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing waits here."""
        return True

    def _say(self, why: str) -> None:
        now = time.monotonic()
        if now - self._said_at >= _SAY_AGAIN_SECONDS:
            self._said_at = now
            _log.warning("spans are not exported", extra={"lost": self._lost, "reason": why[:300]})


class _AsLinked(Sampler):
    """Samples what links to something as that was sampled; all else as `inner` says."""

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(
        self,
        parent_context: Surroundings | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `Sampler.should_sample`."""
        if not links:
            return self._inner.should_sample(
                parent_context, trace_id, name, kind, attributes, links, trace_state
            )
        sampled = any(each.context.trace_flags.sampled for each in links)
        return SamplingResult(Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP, attributes)

    def get_description(self) -> str:
        """See `Sampler.get_description`."""
        return f"AsLinked{{{self._inner.get_description()}}}"


def _unset_empty() -> None:
    """Have an empty variable be none, as the specification says and the SDK does not."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        if not os.environ[name].strip():
            del os.environ[name]


def _remote(context: Context) -> SpanContext:
    _, trace_id, span_id, flags = context.traceparent.split("-")
    return SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState.from_header([context.tracestate] if context.tracestate else []),
    )
