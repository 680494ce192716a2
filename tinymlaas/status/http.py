"""One request and one answer, as far as the page needs to know of HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"

# Nothing but what we serve ourselves, no script or style within a page, in no frame of others.
SECURE = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Request:
    """What was asked: `headers` by their names in lower case, those that came more than once named
    in `repeated`; `peer` is the address it came from.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    peer: str = "127.0.0.1"
    body: bytes = b""
    repeated: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Answer:
    """What is sent: `body` whole, or piece by piece with its `length` in bytes."""

    status: HTTPStatus
    kind: str = TEXT
    body: bytes | Iterator[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None

    def secured(self) -> Answer:
        """Return it with the headers that every page has; its own go before."""
        return replace(self, headers={**SECURE, **self.headers})


def said(status: HTTPStatus, line: str, **headers: str) -> Answer:
    """Return an answer of one line; underscores in names of headers are hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, TEXT, f"{line}\n".encode(), named)


def elsewhere(path: str, **headers: str) -> Answer:
    """Return the answer that sends a browser to a `path` of ours, to GET it."""
    return said(HTTPStatus.SEE_OTHER, f"see {path}", Location=path, **headers)


class Busy(Exception):
    """More is asked than we do at a time; a moment later it will be done."""
