"""Who may look: whoever has the token, or whom an authenticating proxy vouches for."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tinymlaas.contract.errors import UsageError
from tinymlaas.status.http import Request

TOKEN_VARIABLE = "TINYMLAAS_STATUS_TOKEN"  # noqa: S105 - the name of it
HEADER_VARIABLE = "TINYMLAAS_STATUS_PROXY_HEADER"
FROM_VARIABLE = "TINYMLAAS_STATUS_PROXY_FROM"
OFF = (
    f"the status page is off: set {TOKEN_VARIABLE}, or {HEADER_VARIABLE} and {FROM_VARIABLE} "
    "(docs/status-page.md); here are /metrics, /healthz and /readyz"
)
COOKIE = "tinymlaas_status"
SESSION_SECONDS = 12 * 3600
_TOKEN = re.compile(r"[!-~]{16,256}")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
# Not by http.cookies, which takes time with the square of what a stranger sends (CVE-2024-7592).
_SESSION = re.compile(rf"(?:^|;[ \t]*){COOKIE}=(\d{{1,12}})\.([0-9a-f]{{64}})(?:;|$)")
_MOST_COOKIES = 4096

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Access:
    """By what the page is opened: a token, a `header` that comes from one of `networks`."""

    token: str = ""
    header: str = ""
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True)
class Visitor:
    """Who looks; `name` is what the proxy calls them, `by_cookie` says they can sign out."""

    name: str = ""
    by_cookie: bool = False


def from_environment(environment: Mapping[str, str]) -> Access | None:
    """Return what the environment says, None if the page is to be off.

    Raises:
        UsageError: something is missing or malformed; all such is named.
    """
    token, header, sources = (
        environment.get(name, "").strip()
        for name in (TOKEN_VARIABLE, HEADER_VARIABLE, FROM_VARIABLE)
    )
    wrong = []
    if token and not _TOKEN.fullmatch(token):
        wrong.append(f"{TOKEN_VARIABLE} must be 16 to 256 characters of ASCII without spaces")
    if header and not _HEADER.fullmatch(header):
        wrong.append(f"{HEADER_VARIABLE} must be the name of a header, as in X-Forwarded-User")
    if bool(header) != bool(sources):
        wrong.append(
            f"{HEADER_VARIABLE} and {FROM_VARIABLE} go together: whoever reached us past the proxy "
            "could set the header"
        )
    networks: list[Network] = []
    for each in filter(None, re.split(r"[,\s]+", sources)):
        try:
            networks.append(ipaddress.ip_network(each))
        except ValueError:
            wrong.append(f"{FROM_VARIABLE} must be networks as in 10.1.0.0/16, not '{each[:80]}'")
    if wrong:
        raise UsageError(*wrong)
    return Access(token, header.lower(), tuple(networks)) if token or header else None


class Guard:
    """Tells visitors from strangers; all comparisons of secrets take the same time."""

    def __init__(self, access: Access, now: Callable[[], float] = time.time) -> None:
        """Let in whom `access` says; `now` is in seconds since 1970."""
        self._access = access
        self._now = now

    @property
    def has_token(self) -> bool:
        """Whether one can sign in with a token."""
        return bool(self._access.token)

    def visitor(self, request: Request) -> Visitor | None:
        """Return who asks, None for a stranger."""
        name = self._vouched(request)
        if name is not None:
            return Visitor(name)
        if not self._access.token:
            return None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.opens(given.strip()):
            return Visitor()
        return Visitor(by_cookie=True) if self._session(request) else None

    def opens(self, given: str) -> bool:
        """Return whether `given` is the token."""
        return bool(self._access.token) and hmac.compare_digest(
            _digest(given), _digest(self._access.token)
        )

    def cookie(self, request: Request) -> str:
        """Return the cookie of a session that begins now. The token cannot be told from it."""
        until = int(self._now()) + SESSION_SECONDS
        secure = request.headers.get("x-forwarded-proto", "").lower() == "https"
        return _cookie(f"{until}.{self._seal(until)}", SESSION_SECONDS, secure=secure)

    @staticmethod
    def no_cookie() -> str:
        """Return the cookie that ends a session."""
        return _cookie("", 0, secure=False)

    def _vouched(self, request: Request) -> str | None:
        if not self._access.header or self._access.header in request.repeated:
            return None  # of two that say who it is one may be the visitor's own
        try:
            peer = ipaddress.ip_address(request.peer.partition("%")[0])
        except ValueError:
            return None
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        if not any(peer in network for network in self._access.networks):
            return None
        name = request.headers.get(self._access.header, "").strip()
        with contextlib.suppress(UnicodeError):  # headers come as ISO 8859-1; names are in UTF-8
            name = name.encode("iso-8859-1").decode()
        return name[:100] or None

    def _session(self, request: Request) -> bool:
        cookies = request.headers.get("cookie", "")
        parts = _SESSION.search(cookies) if len(cookies) <= _MOST_COOKIES else None
        if parts is None or int(parts[1]) < self._now():
            return False
        return hmac.compare_digest(parts[2], self._seal(int(parts[1])))

    def _seal(self, until: int) -> str:
        said = f"tinymlaas status page until {until}".encode()
        return hmac.new(self._access.token.encode(), said, hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()


def _cookie(value: str, seconds: int, *, secure: bool) -> str:
    # Lax, not Strict, by which who follows a link to a job from a chat would have to sign in again.
    kept = f"{COOKIE}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax"
    return f"{kept}; Secure" if secure else kept
