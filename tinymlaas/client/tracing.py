"""The trace that a request is sent in."""

from __future__ import annotations

import re
import secrets
import sys

_API = "opentelemetry.trace"
_SOUND = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def sound(traceparent: str | None) -> bool:
    """Return whether what is said is W3C trace context of a version that we know."""
    return traceparent is not None and _SOUND.fullmatch(traceparent) is not None


def current_traceparent() -> str:
    """Return the W3C trace context of the caller's span by OpenTelemetry, if there is one.

    Otherwise that of a span nobody has recorded: what the farm logs and traces bears its trace's
    id, so that it can be told apart. https://www.w3.org/TR/trace-context-1/#traceparent-header
    """
    api = sys.modules.get(_API)  # who has a span has loaded it
    if api is not None:
        found = api.get_current_span().get_span_context()
        if found.is_valid:
            return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags & 1:02x}"
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
