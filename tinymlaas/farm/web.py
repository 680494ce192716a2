"""The HTTP port of a process: its metrics, whether it lives, whether it is ready."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tinymlaas.contract.errors import UsageError

_TIMEOUT_SECONDS = 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Health:
    """A yes or no with its reason in one line."""

    good: bool
    said: str


@dataclass(frozen=True)
class Pages:
    """What is served: ``/metrics``, ``/healthz`` and ``/readyz``.

    `metrics` gets the request's Accept header and returns content type and body. `alive` may only
    be bad if a restart would help: not because a service we need is away.
    """

    metrics: Callable[[str], tuple[str, bytes]]
    alive: Callable[[], Health]
    ready: Callable[[], Health]


def serve(pages: Pages, host: str, port: int) -> str:
    """Serve on `host` and `port` (0: any free one) by threads that end with us; return the URL.

    Raises:
        UsageError: the port cannot be had.
    """
    handler = type("Handler", (_Handler,), {"pages": pages})
    try:
        server = _Server((host, port), handler)
    except (OSError, OverflowError) as error:  # the latter for what is no port at all
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on {host}:{port}: {reason}; choose another --http-port"
        ) from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{server.server_address[1]}"


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Log it in a line: who scrapes may go away in the middle, which is no page of ours."""
        _log.info("a page was not sent to %s: %r", client_address, sys.exception())


class _Handler(BaseHTTPRequestHandler):
    pages: Pages
    timeout = _TIMEOUT_SECONDS
    server_version = "tinymlaas"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            kind, body = self.pages.metrics(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, kind, body)
        elif path in {"/healthz", "/readyz"}:
            found = self.pages.alive() if path == "/healthz" else self.pages.ready()
            status = HTTPStatus.OK if found.good else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, "text/plain; charset=utf-8", f"{found.said}\n".encode())
        else:
            said = b"there are /metrics, /healthz and /readyz\n"
            self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", said)

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: scrapes come every few seconds."""
