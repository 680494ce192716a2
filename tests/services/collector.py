"""An OTLP receiver over HTTP that keeps every span it is sent."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Received:
    """A span as it came, ids in hexadecimal; `error` is the text of a bad status."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    start: int
    end: int
    service: str
    resource: dict[str, Any]
    facts: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    events: tuple[str, ...]
    error: str = ""


@dataclass
class Collector:
    """Listens on a port of its own; `status` is what it answers with."""

    spans: list[Received] = field(default_factory=list)
    status: int = 200
    requests: int = 0

    def __post_init__(self) -> None:
        self._told = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.collector = self
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listen no more: who connects is refused."""
        self._server.shutdown()
        self._server.server_close()

    def take(self, body: bytes) -> None:
        """Keep what a request brings."""
        request = ExportTraceServiceRequest.FromString(body)
        with self._told:
            self.requests += 1
            for of in request.resource_spans:
                resource = _facts(of.resource.attributes)
                for scope in of.scope_spans:
                    self.spans += [_received(span, resource) for span in scope.spans]
            self._told.notify_all()

    def until(
        self, true: Callable[[list[Received]], Any], seconds: float = 120.0
    ) -> list[Received]:
        """Wait until `true` of the spans; return them all."""
        deadline = time.monotonic() + seconds
        with self._told:
            while not true(self.spans):
                assert self._told.wait(deadline - time.monotonic()), [
                    (span.service, span.name, span.facts) for span in self.spans
                ]
            return list(self.spans)


class _Server(ThreadingHTTPServer):
    collector: Collector


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        collector = cast(_Server, self.server).collector
        right = (
            self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
        )
        status = collector.status if right else 404
        if status == 200:
            collector.take(body)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _received(span: Any, resource: dict[str, Any]) -> Received:
    return Received(
        name=span.name,
        kind=span.kind,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        service=resource["service.name"],
        resource=resource,
        facts=_facts(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        events=tuple(event.name for event in span.events),
        error=span.status.message if span.status.code == 2 else "",
    )


def _facts(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
