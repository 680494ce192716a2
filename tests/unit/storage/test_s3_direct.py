"""Requests that we sign ourselves, beside the driver's own signer and a server that misbehaves."""

from __future__ import annotations

import http.server
import io
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.credentials import Credentials
from botocore.exceptions import CredentialRetrievalError
from urllib3 import HTTPResponse

from storage.s3_client import Driver
from storage.s3_direct import Answer, DirectS3, Login, Signer, direct_for
from tinymlaas.contract.errors import StoreError

NOW = 1_790_000_000.0
LOGIN = Login("user", "very secret")


@pytest.mark.parametrize("token", [None, "a-token=="])
@pytest.mark.parametrize(
    ("method", "body", "extra"),
    [
        ("GET", b"", {}),
        ("HEAD", b"", {}),
        ("PUT", b"data", {"if-none-match": "*", "x-amz-meta-writer": "0f"}),
    ],
)
def test_signatures_are_the_drivers(
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    method: str,
    body: bytes,
    extra: dict[str, str],
) -> None:
    path, host = "/bucket/jobs/a/b-C_1/result.json", "127.0.0.1:1234"
    login = Login("user", "very secret", token)
    ours = Signer(host, "eu-west-3").headers(login, method, path, body, extra, NOW)
    request = AWSRequest(method, f"http://{host}{path}", headers=extra, data=body)
    request.context["payload_signing_enabled"] = True
    moment = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: moment)
    S3SigV4Auth(Credentials("user", "very secret", token), "s3", "eu-west-3").add_auth(request)
    theirs = {name.lower(): value for name, value in request.headers.items()}
    assert theirs.pop("authorization") == ours.pop("authorization")
    assert set(theirs.items()) <= set(ours.items())


def test_the_signing_key_follows_day_and_secret() -> None:
    signer = Signer("host", "r")
    calls = [(LOGIN, NOW), (LOGIN, NOW + 86_400), (Login("user", "other"), NOW), (LOGIN, NOW)]
    made = [signer.headers(login, "GET", "/a", b"", {}, now) for login, now in calls]
    signatures = [each["authorization"].rpartition("=")[2] for each in made]
    assert len(set(signatures)) == 3
    assert signatures[0] == signatures[3]


class Server(http.server.ThreadingHTTPServer):
    """Answers what `say` returns, as it is, and counts connections."""

    daemon_threads = True
    say = b""
    connections = 0
    requests = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)

    def direct(self, bucket: str = "bucket") -> DirectS3:
        base = f"http://127.0.0.1:{self.server_address[1]}/{bucket}/"
        return DirectS3(base, "us-east-1", Credentials("user", "secret"))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        self.server.requests += 1
        self.rfile.read(int(self.headers.get("content-length", 0)))
        say = self.server.say  # as soon as it is written the test may change it
        self.wfile.write(say)
        self.wfile.flush()
        self.close_connection = b"close" in say

    do_PUT = do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def said(status: int, body: bytes = b"", length: int | None = None, more: str = "") -> bytes:
    length = len(body) if length is None else length
    return f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{more}\r\n".encode() + body


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_connection_is_used_again(server: Server) -> None:
    direct = server.direct()
    server.say = said(200, b"data")
    assert [direct.get("k") for _ in range(5)] == [Answer(200, b"data", 4)] * 5
    assert server.connections == 1
    server.say = said(200, b"data", more="Connection: close\r\n")
    assert direct.get("k") == direct.get("k") == Answer(200, b"data", 4)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("get", said(500, b"oops")),
        ("get", said(307, more="Location: http://127.0.0.1:1/\r\n")),
        ("get", said(403, b"<Code>RequestTimeTooSkewed</Code>")),
        ("get", said(404, b"<Code>NoSuchBucket</Code>")),
        ("get", said(200, b"da", length=4, more="Connection: close\r\n")),  # broken off
        ("get", b"what?\r\n\r\nclose"),
        ("head", said(409)),
        ("put", said(404, b"<Code>NoSuchBucket</Code>")),
        ("put", said(503)),
    ],
)
def test_what_is_not_expected_is_left_to_the_driver(
    server: Server, verb: str, answer: bytes
) -> None:
    direct = server.direct()
    server.say = answer
    arguments = ("k", b"data") if verb == "put" else ("k",)
    assert getattr(direct, verb)(*arguments) is None


def test_after_an_error_the_driver_does_all_for_a_while(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = server.direct()
    server.say = said(500)
    assert direct.get("k") is None
    server.say = said(200, b"data")
    assert direct.get("k") is None
    assert server.requests == 1
    later = time.monotonic() + 60
    monkeypatch.setattr("storage.s3_direct.time.monotonic", lambda: later)
    assert direct.get("k") == Answer(200, b"data", 4)


def test_a_connection_that_the_server_has_closed_costs_one_request(server: Server) -> None:
    direct = server.direct()
    server.say = said(200, b"data")
    assert direct.get("k") is not None
    ((_, connection),) = direct._idle
    connection.sock.shutdown(2)
    assert direct.get("k") is None
    assert direct.get("k") == Answer(200, b"data", 4)


def test_nobody_is_there() -> None:
    direct = DirectS3("http://127.0.0.1:9/b/", "us-east-1", Credentials("user", "secret"))
    assert direct.put("k", b"") is None


def test_only_the_driver_knows_its_way_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    driver = Driver("https://s3.example:444/", "us-east-1")
    assert direct_for(driver, "bucket") is not None
    assert direct_for(driver, "Bucket of mine") is None
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    assert direct_for(driver, "bucket") is None
    monkeypatch.setenv("no_proxy", "s3.example")
    assert direct_for(driver, "bucket") is not None


@pytest.mark.parametrize(
    ("endpoint", "bucket", "base"),
    [
        ("http://127.0.0.1:1/", "bucket", "http://127.0.0.1:1/bucket/"),
        (None, "bucket", "https://bucket.s3.eu-west-3.amazonaws.com/"),
        (None, "my.bucket", "https://s3.eu-west-3.amazonaws.com/my.bucket/"),
    ],
)
def test_keys_are_where_the_driver_has_them(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, bucket: str, base: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("no_proxy", "*")
    driver = Driver(endpoint, "eu-west-3")
    made: list[str] = []
    monkeypatch.setattr("storage.s3_direct.DirectS3", lambda base, *_: made.append(base))
    direct_for(driver, bucket)
    client = driver.client()
    asked: list[str] = []

    def seen(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        asked.append(request.url)
        return AWSResponse(request.url, 200, {}, HTTPResponse(io.BytesIO(), preload_content=False))

    client.meta.events.register("before-send.s3.HeadObject", seen)
    client.head_object(Bucket=bucket, Key="a/b")
    assert asked == [f"{made[0]}a/b"] == [f"{base}a/b"]


def test_without_credentials_boto3_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "credentials", lambda self: None)
    assert direct_for(Driver("http://127.0.0.1:9", None), "bucket") is None


class Expired:
    """Temporary credentials that cannot be renewed."""

    def get_frozen_credentials(self) -> None:
        raise CredentialRetrievalError(provider="test", error_msg="no")


def test_credentials_that_cannot_be_renewed_are_left_to_the_driver() -> None:
    assert DirectS3("http://127.0.0.1:9/b/", "us-east-1", Expired()).get("k") is None


def test_a_profile_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nonexistent")
    with pytest.raises(StoreError, match="nonexistent"):
        direct_for(Driver(None, None), "bucket")
