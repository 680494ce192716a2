"""The pages of a process."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from tinymlaas.contract.errors import UsageError
from tinymlaas.farm import web
from tinymlaas.farm.web import Health, Pages, serve
from tinymlaas.status.http import TEXT, Answer, Request, said

SECONDS = 120.0  # which no test takes unless something is wrong


def get(url: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def test_pages() -> None:
    ready = [Health(False, "no broker")]
    pages = Pages(
        metrics=lambda accept: ("text/made-up", accept.encode()),
        alive=lambda: Health(True, "well"),
        ready=lambda: ready[0],
    )
    url = serve(pages, "127.0.0.1", 0)
    assert get(f"{url}/healthz") == (200, "text/plain; charset=utf-8", "well\n")
    assert get(f"{url}/readyz") == (503, "text/plain; charset=utf-8", "no broker\n")
    ready[0] = Health(True, "idle")
    assert get(f"{url}/readyz?verbose")[::2] == (200, "idle\n")
    assert get(f"{url}/metrics")[:2] == (200, "text/made-up")
    assert get(f"{url}/etc/passwd")[0] == 404
    with pytest.raises(UsageError, match="cannot listen"):
        serve(pages, "127.0.0.1", int(url.rpartition(":")[2]))
    with pytest.raises(UsageError, match=r"cannot listen on 127.0.0.1:99999: .*0-65535"):
        serve(pages, "127.0.0.1", 99999)


def test_no_name_is_looked_up_before_we_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(name: str = "") -> str:
        raise AssertionError("this may take DNS a minute")

    monkeypatch.setattr(socket, "getfqdn", slow)
    url, _ = site_of(said(HTTPStatus.OK, "fine"))
    assert get(url)[::2] == (200, "fine\n")


def test_who_goes_away_in_the_middle_leaves_no_traceback(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def gone(accept: str) -> tuple[str, bytes]:
        raise BrokenPipeError("gone")

    caplog.set_level("INFO")
    url = serve(Pages(gone, lambda: Health(True, ""), lambda: Health(True, "")), "127.0.0.1", 0)
    with pytest.raises(OSError, match="without response"):
        urllib.request.urlopen(f"{url}/metrics", timeout=SECONDS)
    deadline = time.monotonic() + SECONDS
    while "a page was not sent" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert capfd.readouterr().err == ""


def site_of(*answers: Answer) -> tuple[str, list[int]]:
    """Serve a site that gives `answers` in turn, then breaks; also the statuses it has sent."""
    left, statuses = iter(answers), []

    def site(request: Request) -> Answer:
        return next(left).secured()

    def metrics(accept: str) -> tuple[str, bytes]:
        return "text/plain", b"1\n"

    well = Health(True, "well")
    pages = Pages(metrics, lambda: well, lambda: well, site, answered=statuses.append)
    return serve(pages, "127.0.0.1", 0), statuses


def test_a_page_that_breaks_is_a_line_and_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url, statuses = site_of(said(HTTPStatus.OK, "fine"))
    assert get(url)[::2] == (200, "fine\n")
    assert get(f"{url}/x%1b[31m")[::2] == (500, "this page broke; the log says how\n")
    assert statuses == [200, 500]
    assert r"GET '/x%1b[31m'" in caplog.text
    assert get(f"{url}/healthz")[0] == 200


def test_what_comes_in_pieces_is_sent_in_pieces_and_closed() -> None:
    class Pieces:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"ab", b"cd"])

        def close(self) -> None:
            self.closed += 1

    pieces = Pieces()
    answer = Answer(HTTPStatus.OK, "x/y", pieces, length=4)  # type: ignore[arg-type]
    url, _ = site_of(answer, answer)
    assert get(url) == (200, "x/y", "abcd")
    head = urllib.request.Request(url, method="HEAD")
    with urllib.request.urlopen(head, timeout=SECONDS) as found:
        assert (found.headers["Content-Length"], found.read()) == ("4", b"")
    deadline = time.monotonic() + SECONDS
    while pieces.closed < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert pieces.closed == 2


def spoken(url: str, said: bytes) -> bytes:
    """Return what a server answers to these bytes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), SECONDS) as connection:
        connection.sendall(said)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_form_may_be_small_only() -> None:
    url, _ = site_of()
    said = spoken(url, b"POST /login HTTP/1.0\r\nContent-Length: 5000\r\n\r\n")
    assert said.startswith(b"HTTP/1.0 413")
    for length in (b"x", b"-1", b"0" * 5000):
        said = spoken(url, b"POST / HTTP/1.0\r\nContent-Length: " + length + b"\r\n\r\n")
        assert said.startswith(b"HTTP/1.0 413")


def test_who_sends_half_a_form_keeps_nobody_from_the_page() -> None:
    url, _ = site_of(said(HTTPStatus.OK, "fine"))
    host, port = url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(web._PAGES + 4):
            connection = stack.enter_context(socket.create_connection((host, int(port)), SECONDS))
            connection.sendall(b"POST /login HTTP/1.0\r\nContent-Length: 100\r\n\r\ntoken=")
        for _ in range(5):
            assert get(f"{url}/healthz")[0] == 200
        assert get(url)[::2] == (200, "fine\n")


def test_who_sends_a_byte_now_and_then_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_REQUEST_SECONDS", 0.3)
    url, _ = site_of()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), SECONDS) as connection:
        with contextlib.suppress(OSError):
            for _ in range(200):
                connection.sendall(b"G")
                time.sleep(0.02)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    assert get(f"{url}/healthz")[0] == 200


def test_a_crowd_is_put_off_and_health_is_told_all_the_same() -> None:
    going = threading.Event()

    def slow() -> Iterator[bytes]:
        going.wait(SECONDS)
        yield b"x"

    url, statuses = site_of(*(Answer(HTTPStatus.OK, TEXT, slow(), length=1) for _ in range(30)))
    crowd = [threading.Thread(target=get, args=(url,)) for _ in range(24)]
    for each in crowd:
        each.start()
    deadline = time.monotonic() + SECONDS
    while len(statuses) < 24 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert get(url)[0] == 503
    assert get(f"{url}/healthz")[0] == 200
    assert get(f"{url}/metrics")[0] == 200
    going.set()
    for each in crowd:
        each.join(SECONDS)
    assert sorted(statuses) == [200] * 24 + [503]


def test_who_only_connects_keeps_nobody_from_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A liveness probe must come through: who restarts us for a crowd helps the crowd."""
    monkeypatch.setattr(web, "_REQUEST_SECONDS", 10 * SECONDS)  # nobody leaves but to make room
    url, _ = site_of()
    host, port = url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection((host, int(port)), SECONDS))
            for _ in range(web._CONNECTIONS + 40)
        ]
        for _ in range(5):
            assert get(f"{url}/healthz")[0] == 200
        with contextlib.suppress(ConnectionResetError):
            assert idle[0].recv(1) == b"", "the oldest had to leave"
        idle[-1].sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b" 200 " in idle[-1].recv(100), "the last had not"


def listening() -> tuple[str, list[Request]]:
    """Return the URL of a site that is content with every request, and those it was given."""
    asked: list[Request] = []

    def site(request: Request) -> Answer:
        asked.append(request)
        return said(HTTPStatus.OK, "fine")

    well = Health(True, "well")
    url = serve(Pages(lambda a: ("", b""), lambda: well, lambda: well, site), "127.0.0.1", 0)
    return url, asked


@pytest.mark.parametrize("line", [b"X: a\rX-User: root", b"X: a\r", b"no header"])
def test_what_two_would_read_in_two_ways_is_not_read(line: bytes) -> None:
    """A proxy that takes this for one header must not have let in the second unseen."""
    url, asked = listening()
    with contextlib.suppress(ConnectionResetError):
        answer = spoken(url, b"GET / HTTP/1.0\r\n" + line + b"\r\nX-User: ann\r\n\r\n")
        assert not answer or b" 400 " in answer.splitlines()[0]
    assert not asked


def test_headers_without_end_are_not_kept() -> None:
    url, statuses = site_of()
    with contextlib.suppress(OSError):
        assert spoken(url, b"GET / HTTP/1.0\r\n" + b"X: " + b"y" * 60_000 + b"\r\n\r\n") == b""
    assert statuses == []
    assert get(f"{url}/healthz")[0] == 200


def test_a_header_that_comes_twice_is_told_apart() -> None:
    url, asked = listening()
    spoken(url, b"GET /a%20b?c HTTP/1.0\r\nX-User: a\r\nHost: h\r\nx-user: b\r\n\r\n")
    (request,) = asked
    assert request.repeated == {"x-user"}
    assert (request.path, request.query) == ("/a b", "c")


def test_who_asks_for_metrics_and_does_not_read_them_keeps_probes_from_nothing() -> None:
    large = bytes(8 << 20)
    well = Health(True, "well")
    url = serve(Pages(lambda a: ("x/y", large), lambda: well, lambda: well), "127.0.0.1", 0)
    host, port = url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            connection = stack.enter_context(socket.create_connection((host, int(port)), SECONDS))
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert get(f"{url}/healthz")[0] == 200
        deadline = time.monotonic() + SECONDS
        while get(f"{url}/metrics")[0] != 503:  # as soon as eight of them are being sent
            assert time.monotonic() < deadline
