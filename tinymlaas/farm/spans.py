"""Where the spans of a process of the farm go, and what they have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tinymlaas.contract.errors import UsageError
from tinymlaas.tracing import Context, NoTracing, Tracing, Value

# Attributes, beside those of OpenTelemetry's conventions for messaging.
JOB, TENANT = "tinymlaas.job_id", "tinymlaas.tenant"
ACTION, TASK = "tinymlaas.action", "tinymlaas.task_id"
POOL, WORKER = "tinymlaas.pool", "tinymlaas.worker"
COMPILER, CANDIDATE = "tinymlaas.compiler", "tinymlaas.candidate"
WORK, OUTCOME, CACHED = "tinymlaas.work", "tinymlaas.outcome", "tinymlaas.cached"
STATE, MERGED, ATTEMPT = "tinymlaas.state", "tinymlaas.jobs_waiting", "tinymlaas.attempt"
CANDIDATES, PRIORITY = "tinymlaas.candidates", "tinymlaas.priority"

_SYSTEM, _OPERATION = "messaging.system", "messaging.operation.type"
_DESTINATION, _MESSAGE = "messaging.destination.name", "messaging.message.id"


def open_tracing(
    wanted: bool, service: str, facts: Mapping[str, str], *, follow_links: bool = False
) -> Tracing:
    """Return where spans go; nowhere unless they are `wanted`. `facts` are attributes of them all.

    With `follow_links` a trace is sampled if what it links to was, so that a job's traces are kept
    or left out together.

    Raises:
        UsageError: a variable of OpenTelemetry's cannot be heeded.
    """
    if not wanted:
        return NoTracing()
    from tinymlaas.otlp import OtlpTracing  # 0.4 s and 20 MB, for those who export

    try:
        return OtlpTracing(service, facts, follow_links=follow_links)
    except ValueError as error:  # the SDK's variables are many, and it does not say which it was
        named = ", ".join(sorted(name for name in os.environ if name.startswith("OTEL_")))
        raise UsageError(f"one of {named} cannot be heeded: {error}") from error


def messaging(operation: str, destination: str, message: str) -> dict[str, Value]:
    """Return the attributes of what is received, processed or sent.

    https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
    """
    return {
        _SYSTEM: "rabbitmq",
        _OPERATION: operation,
        _DESTINATION: destination,
        _MESSAGE: message,
    }


def context_of(traceparent: str | None, tracestate: str | None = None) -> list[Context]:
    """Return what is to be linked to: nothing where nothing was said."""
    return [] if traceparent is None else [Context(traceparent, tracestate)]
