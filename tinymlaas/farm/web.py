"""The HTTP port of a process: its metrics, whether it lives, whether it is ready, and, of a
scheduler, the status page.

The standard library's server, a thread for each connection, which it closes after one answer: that
is all that scrapers, probes and a page that asks every few seconds need, and what is held open
costs nobody else. Bounds on everything keep a crowd, or somebody who sends a byte a second, from
taking more than their share of the process: it has jobs to schedule. Where there are too many
connections the oldest that has not said what it wants makes room, so that probes are answered.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import unquote

from tinymlaas.contract.errors import UsageError
from tinymlaas.status.http import Answer, Request, said
from tinymlaas.status.site import MOST_FORM_BYTES

_REQUEST_SECONDS = 10  # until all of a request has come
_SEND_SECONDS = 20  # for each piece of an answer
_REQUEST_BYTES = 32 << 10  # of a request with all of its headers
_CONNECTIONS = 256  # at a time
# Of these, of the status page, and of metrics, which are large: whoever asks and does not read
# keeps its place for a while, so the rest of the places is for probes.
_PAGES, _SCRAPES = 24, 8
_log = logging.getLogger(__name__)

Site = Callable[[Request], Answer]


@dataclass(frozen=True)
class Health:
    """A yes or no with its reason in one line."""

    good: bool
    said: str


@dataclass(frozen=True)
class Pages:
    """What is served: ``/metrics``, ``/healthz`` and ``/readyz``, and all else by `site`.

    `metrics` gets the request's Accept header and returns content type and body. `alive` may only
    be bad if a restart would help: not because a service we need is away. Without a `site`,
    `otherwise` is the line that says what there is. `answered` is told the status of its answers.
    """

    metrics: Callable[[str], tuple[str, bytes]]
    alive: Callable[[], Health]
    ready: Callable[[], Health]
    site: Site | None = None
    otherwise: str = "there are /metrics, /healthz and /readyz"
    answered: Callable[[int], None] = lambda status: None


def serve(pages: Pages, host: str, port: int) -> str:
    """Serve on `host` and `port` (0: any free one) by threads that end with us; return the URL.

    Raises:
        UsageError: the port cannot be had.
    """
    bounds = {"places": threading.Semaphore(_PAGES), "scrapes": threading.Semaphore(_SCRAPES)}
    handler = type("Handler", (_Handler,), {"pages": pages, **bounds})
    try:
        server = _Server((host, port), handler)
    except (OSError, OverflowError) as error:  # the latter for what is no port at all
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on {host}:{port}: {reason}; choose another --http-port"
        ) from error
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{server.server_address[1]}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._guard = threading.Lock()
        self._count = 0
        self._unheard: OrderedDict[socket.socket, None] = OrderedDict()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind, but do not ask DNS for our own name, which may take it long and nobody wants."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Have a thread deal with it, if need be in place of one that has not said anything yet."""
        with self._guard:
            oldest = None
            if self._count >= _CONNECTIONS:
                oldest = next(iter(self._unheard), None)
                if oldest is None:
                    self.shutdown_request(request)
                    return
                del self._unheard[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            self._count += 1
            self._unheard[request] = None
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._left(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Deal with it, then make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._left(request)

    def heard(self, request: socket.socket) -> None:
        """Take note that all of a request has come: it has its place until it is answered."""
        with self._guard:
            self._unheard.pop(request, None)

    def _left(self, request: socket.socket) -> None:
        with self._guard:
            self._count -= 1
            self._unheard.pop(request, None)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log it in a line: who scrapes may go away in the middle, which is no page of ours."""
        _log.info("a page was not sent to %s: %r", client_address, sys.exception())


class _Timely(socket.SocketIO):
    """Reads a socket until a moment, however slowly what is read comes, and so many bytes."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        super().__init__(connection, "r")
        self._connection = connection
        self._until = until
        self._bytes = 0

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request did not come in time")
        self._connection.settimeout(left)
        count = super().readinto(buffer)
        self._bytes += count or 0
        if self._bytes > _REQUEST_BYTES:
            raise ConnectionAbortedError("the request is too long")
        return count


class _Lines(io.BufferedReader):
    """A request's lines. One with a CR within is none: our parser would end a header there, and who
    has passed it on did not, so what was one header's value would be a header of its own.
    """

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r"):
            raise ConnectionAbortedError("a line of the request has a CR within")
        return line


class _Handler(BaseHTTPRequestHandler):
    pages: Pages
    places: threading.Semaphore
    scrapes: threading.Semaphore
    form: bytes | None
    server_version = "tinymlaas"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.rfile = _Lines(_Timely(self.connection, time.monotonic() + _REQUEST_SECONDS))

    def parse_request(self) -> bool:
        """See `BaseHTTPRequestHandler`: line and headers have come. Then so does the form, before
        it has any of the places.
        """
        sound = super().parse_request()
        if sound and self.headers.get_payload():  # the parser takes that for the headers' end
            self.send_error(HTTPStatus.BAD_REQUEST, "one of the headers is none")
            sound = False
        self.form = self._form() if sound else b""
        if isinstance(self.server, _Server):
            self.server.heard(self.connection)
        return sound

    def _form(self) -> bytes | None:
        """Return what comes after the headers, None if it is more than any form of ours."""
        said_length = self.headers.get("Content-Length") or "0"
        if not (said_length.isdecimal() and len(said_length) < 10):
            return None
        length = int(said_length)
        return None if length > MOST_FORM_BYTES else self.rfile.read(length)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._placed(self.scrapes, self._scrape, self._send)
        elif path in {"/healthz", "/readyz"}:
            found = self.pages.alive() if path == "/healthz" else self.pages.ready()
            status = HTTPStatus.OK if found.good else HTTPStatus.SERVICE_UNAVAILABLE
            self._send(said(status, found.said))
        elif self.pages.site is None:
            self._send(said(HTTPStatus.NOT_FOUND, self.pages.otherwise))
        else:
            self._placed(self.places, self._page, self._answered)

    def do_POST(self) -> None:
        """Only the status page has forms."""
        if self.pages.site is None:
            self._send(said(HTTPStatus.METHOD_NOT_ALLOWED, "nothing takes that", Allow="GET, HEAD"))
        else:
            self._placed(self.places, self._page, self._answered)

    do_HEAD = do_GET
    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_POST

    def _placed(
        self,
        places: threading.Semaphore,
        make: Callable[[], Answer],
        send: Callable[[Answer], None],
    ) -> None:
        """Have an answer made and sent if one of the `places` is free."""
        if not places.acquire(blocking=False):
            send(said(HTTPStatus.SERVICE_UNAVAILABLE, "too many ask now", Retry_After="2"))
            return
        try:
            send(make())
        finally:
            places.release()

    def _scrape(self) -> Answer:
        kind, body = self.pages.metrics(self.headers.get("Accept", ""))
        return Answer(HTTPStatus.OK, kind, body)

    def _page(self) -> Answer:
        """Return a page of the site. Whatever goes wrong with it is told in a line, only that."""
        site = self.pages.site
        assert site is not None  # noqa: S101 - for the type checker: the caller has asked
        if self.form is None:
            return said(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "that is too much")
        try:
            return site(self._request(self.form))
        except Exception:
            _log.exception("a page could not be made: %s %a", self.command, self.path[:200])
            return said(HTTPStatus.INTERNAL_SERVER_ERROR, "this page broke; the log says how")

    def _request(self, body: bytes) -> Request:
        path, _, query = self.path.partition("?")
        names = [name.lower() for name in self.headers]
        return Request(
            self.command,
            unquote(path),
            query,
            {name.lower(): value for name, value in self.headers.items()},
            str(self.client_address[0]),
            body,
            frozenset(name for name in names if names.count(name) > 1),
        )

    def _answered(self, answer: Answer) -> None:
        self.pages.answered(int(answer.status))
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        close = getattr(answer.body, "close", None)
        with contextlib.closing(answer.body) if close else contextlib.nullcontext():  # type: ignore[type-var]
            length = len(answer.body) if isinstance(answer.body, bytes) else answer.length
            self.connection.settimeout(_SEND_SECONDS)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            if answer.status is not HTTPStatus.NOT_MODIFIED:
                self.send_header("Content-Length", str(length))
            for name, value in {"X-Content-Type-Options": "nosniff", **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            for piece in (answer.body,) if isinstance(answer.body, bytes) else answer.body:
                self.wfile.write(piece)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: scrapes come every few seconds."""
