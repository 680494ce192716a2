"""Small requests to S3 without the driver: signed here, over connections that stay open.

boto3 takes 2 ms of processor time for a request, which is most of what a cached job costs. These
take 0.3 ms: reading, asking for and writing one object. Whatever is not answered in one of the
ways expected here (no connection, an error of the server, another region) is None: the caller has
boto3 do the same again, which knows how to go on and what to say.

Signature version 4:
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from storage.s3_client import Driver

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 60.0
_IDLE_SECONDS = 4.0  # servers close connections that idle; a fresh one costs less than to find out
_CONNECTIONS = 32
_REST_SECONDS = 5.0  # after what it does not understand, all goes by boto3 for a while
_EXPECTED = {"GET": {200, 404}, "HEAD": {200, 404}, "PUT": {200, 409, 412}}
_PLAIN = re.compile(r"[a-z0-9][a-z0-9.-]*")  # bucket names that need no escapes
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """Of reading: status 200 or 404 (no such object). Of writing: 200, 409 or 412."""

    status: int
    body: bytes = b""
    length: int = 0


@dataclass(frozen=True)
class Login:
    """Names and secret to sign with; `token` is of temporary credentials."""

    user: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class Signer:
    """Signs requests for one host and region, as of signature version 4."""

    def __init__(self, host: str, region: str) -> None:
        """Sign for `host`, with its port where that is in the URL."""
        self._host = host
        self._region = region
        self._last: tuple[str, str, bytes] = ("", "", b"")

    def headers(
        self,
        login: Login,
        method: str,
        path: str,
        body: bytes,
        extra: Mapping[str, str],
        now: float,
    ) -> dict[str, str]:
        """Return all headers to send. `path` needs no escapes; `extra` names are in lower case."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": self._host, "x-amz-content-sha256": digest, "x-amz-date": stamp, **extra}
        if login.token:  # empty is none: so a farm's env file says it of a user's own
            headers["x-amz-security-token"] = login.token
        names = sorted(headers)
        listed, signed = "".join(f"{name}:{headers[name]}\n" for name in names), ";".join(names)
        canonical = f"{method}\n{path}\n\n{listed}\n{signed}\n{digest}"
        scope = f"{stamp[:8]}/{self._region}/s3/aws4_request"
        text = (
            f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        )
        signature = hmac.new(self._key(login, stamp[:8]), text.encode(), "sha256").hexdigest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={login.user}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )
        return headers

    def _key(self, login: Login, day: str) -> bytes:
        """Return the day's signing key, made once a day."""
        secret, known, key = self._last
        if (secret, known) != (login.secret, day):
            key = f"AWS4{login.secret}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.new(key, part.encode(), "sha256").digest()
            self._last = (login.secret, day, key)
        return key


class DirectS3:
    """Requests for objects of one bucket; safe to share between threads."""

    def __init__(self, base: str, region: str, credentials: Any, tls: Any = None) -> None:
        """Use the URL `base`, which a key is put after, botocore's `credentials`, and for https the
        SSL context `tls`.
        """
        parts = urlsplit(base)
        self._tls = tls if parts.scheme == "https" else None
        self._host, self._port = parts.hostname or "", parts.port
        self._prefix = parts.path
        self._signer = Signer(parts.netloc, region)
        self._credentials = credentials
        self._idle: deque[tuple[float, http.client.HTTPConnection]] = deque()
        self._lock = threading.Lock()
        self._rests_until = 0.0

    def get(self, path: str) -> Answer | None:
        """Read an object."""
        answer = self._request("GET", path)
        if answer is not None and answer.status == 404 and b"NoSuchKey" not in answer.body:
            return None  # it is the bucket that is missing
        return answer

    def head(self, path: str) -> Answer | None:
        """Ask whether there is an object, and of what length."""
        return self._request("HEAD", path)

    def put(
        self, path: str, data: bytes, headers: Mapping[str, str] | None = None
    ) -> Answer | None:
        """Write an object; None tells nothing of whether it was written."""
        return self._request("PUT", path, data, headers)

    def _request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer | None:
        if time.monotonic() < self._rests_until:
            return None
        try:
            answer = self._exchange(method, self._prefix + path, body, headers or {})
        except (BrokenPipeError, ConnectionResetError):  # an open connection was closed meanwhile
            return None
        except (OSError, http.client.HTTPException) as error:
            said = f"{type(error).__name__} {error}"
        else:
            if answer.status in _EXPECTED[method]:
                return answer
            said = f"HTTP {answer.status}"
        _log.info("%s %s is left to boto3: %s", method, path, said)
        self._rests_until = time.monotonic() + _REST_SECONDS
        return None

    def _exchange(self, method: str, path: str, body: bytes, extra: Mapping[str, str]) -> Answer:
        """Send and receive.

        Raises:
            OSError, http.client.HTTPException: there is no whole answer.
        """
        headers = self._signer.headers(self._login(), method, path, body, extra, time.time())
        connection = self._connection()
        try:
            connection.request(method, path, body if method == "PUT" else None, headers)
            answer = connection.getresponse()
            data = answer.read()
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            self._keep(connection)
        return Answer(answer.status, data, int(answer.headers.get("content-length") or 0))

    def _login(self) -> Login:
        """Return whom to sign as.

        Raises:
            OSError: temporary credentials cannot be renewed; boto3 will say why.
        """
        from botocore.exceptions import BotoCoreError

        try:
            found = self._credentials.get_frozen_credentials()
        except (BotoCoreError, RuntimeError) as error:
            raise OSError(str(error)) from error
        return Login(found.access_key, found.secret_key, found.token)

    def _connection(self) -> http.client.HTTPConnection:
        """Return a connection nobody else uses, as fresh as there is."""
        now = time.monotonic()
        with self._lock:
            at, connection = self._idle.pop() if self._idle else (0.0, None)
            stale = [old for when, old in self._idle if now - when > _IDLE_SECONDS]
            if stale:
                self._idle = deque(pair for pair in self._idle if pair[1] not in stale)
        for old in stale:
            old.close()
        if connection is not None and now - at <= _IDLE_SECONDS:
            return connection
        if connection is not None:
            connection.close()
        return self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=_CONNECT_SECONDS, context=self._tls
            )
        else:
            made = http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_SECONDS)
        made.connect()
        made.sock.settimeout(_READ_SECONDS)
        return made

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _CONNECTIONS:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()


def direct_for(driver: Driver, bucket: str) -> DirectS3 | None:
    """Return direct access to what `driver` reaches in `bucket`.

    None where only boto3 knows the way: without credentials, or through a proxy.
    """
    from botocore.utils import get_environ_proxies

    credentials = driver.credentials()
    base = _base(driver, bucket) if credentials is not None else None
    if base is None or get_environ_proxies(base):
        return None
    return DirectS3(base, driver.region, credentials, _tls(base))


def _base(driver: Driver, bucket: str) -> str | None:
    """Return the URL that a key is put after, as boto3 has it."""
    if not _PLAIN.fullmatch(bucket):
        return None
    endpoint = (driver.endpoint or str(driver.client().meta.endpoint_url)).rstrip("/")
    if driver.endpoint is None and "." not in bucket:  # AWS wants the bucket in the host's name
        return f"{endpoint.replace('://', f'://{bucket}.', 1)}/"
    return f"{endpoint}/{bucket}/"


def _tls(url: str) -> Any:
    """Return an SSL context with the certificates that boto3 trusts, for an https URL."""
    if not url.startswith("https:"):
        return None
    import os
    import ssl

    from botocore.httpsession import get_cert_path

    return ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or get_cert_path(True))
