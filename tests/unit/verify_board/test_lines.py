"""Slow lines, and names of places that are none."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator

import pytest

from tinymlaas.contract.errors import Failure, UsageError
from workers.verify.board import protocol
from workers.verify.board.links import LinkFailed, opened
from workers.verify.board.protocol import Board, BoardFailed


class SlowLine:
    """A board at the end of a line of `speed` bytes a second, in a time of its own.

    The kernel takes what is sent at once, and no time; the board answers when the last byte of a
    request has come to it. The first `lost` requests get no answer.
    """

    name = "a slow line"

    def __init__(self, speed: float, lost: int = 0) -> None:
        self.now, self.idle, self.speed = 0.0, 0.0, speed
        self.asked, self._lost = "", lost
        self._answers: list[tuple[float, bytes]] = []

    def monotonic(self) -> float:
        return self.now

    def send(self, data: bytes, seconds: float) -> None:
        self.idle = max(self.now, self.idle) + len(data) / self.speed
        self.asked += chr(data[4])
        if len(self.asked) > self._lost:
            measured = bytes(16 if self.asked.endswith("x") else 0)
            body = data[4:6] + struct.pack("<HI", 0, len(measured)) + measured
            answer = b"TMLA" + body + struct.pack("<I", zlib.crc32(body))
            self._answers.append((self.idle + len(answer) / self.speed, answer))

    def receive(self, seconds: float) -> bytes:
        until = self.now + max(0.0, seconds)
        if self._answers and self._answers[0][0] <= until:
            due, answer = self._answers.pop(0)
            self.now = max(self.now, due)
            return answer
        self.now = until
        return b""


def board_on(line: SlowLine, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setattr(protocol, "time", line)
    return Board(line, patience=10.0)


@pytest.mark.parametrize("size", [3_000, 27_648])
def test_a_long_request_on_a_slow_line_is_sent_once(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = SlowLine(960.0)
    board_on(line, monkeypatch).run(0, [bytes(size)])
    assert line.asked == "wx"


def test_the_time_a_line_takes_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    line = SlowLine(960.0, lost=3)
    board_on(line, monkeypatch).run(0, [bytes(27_648)])
    assert line.asked == "wwwwx"


def test_silence_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    line = SlowLine(960.0, lost=99)
    with pytest.raises(BoardFailed, match="no answer from the board at a slow line within 10 s"):
        board_on(line, monkeypatch).run(0, [bytes(3_000)])
    assert line.asked == "wwww"  # waited for 1, 2, 4 and 3 seconds


@contextlib.contextmanager
def terminal(pace: float) -> Iterator[tuple[str, list[int]]]:
    """A serial device from which 1 KiB at most is taken every `pace` seconds; none if 0."""
    ours, theirs = os.openpty()
    ended, taken = threading.Event(), [0]

    def take() -> None:
        while pace and not ended.wait(pace):
            taken[0] += len(os.read(ours, 1024))

    os.set_blocking(ours, True)
    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    try:
        yield os.ttyname(theirs), taken
    finally:
        ended.set()
        if pace:
            os.write(theirs, b"!")  # so that a read that waits returns
        thread.join()
        os.close(theirs)
        os.close(ours)


def test_patience_is_for_a_line_that_takes_nothing_not_for_a_long_request() -> None:
    with terminal(0.05) as (place, taken), opened(place) as link:
        begun = time.monotonic()
        link.send(bytes(1 << 16), seconds=1.0)
        assert time.monotonic() - begun > 1.0, "this line was too fast to show anything"
        assert taken[0] > 1 << 14
    stuck = pytest.raises(LinkFailed, match="takes no bytes")
    with terminal(0.0) as (place, _), opened(place) as link, stuck:
        link.send(bytes(1 << 16), seconds=0.2)


def test_bytes_that_another_reader_took_are_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(0.0) as (place, _), opened(place) as link:
        descriptor = os.open(place, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            with pytest.raises(BlockingIOError):
                os.read(descriptor, 1)
            monkeypatch.setattr(select, "select", lambda *lists: lists[:3])  # says there is some
            assert link.receive(0.0) == b""
        finally:
            os.close(descriptor)


@pytest.mark.parametrize("place", ["tcp://..:5", "tcp://" + "x" * 70 + ":5", "tcp://[]:5"])
def test_what_is_no_name_of_a_host_is_told_so(place: str) -> None:
    with pytest.raises(UsageError, match=r"--serial tcp://"), opened(place):
        pass


def test_an_ipv6_address_stands_in_brackets() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        unreachable = pytest.raises(Failure, match=r"\[::1\]:1 cannot be reached: (?!Name)")
        with unreachable, opened("tcp://[::1]:1"):
            pass
        return
    with server, opened(f"tcp://[::1]:{server.getsockname()[1]}") as link:
        link.send(b"x", 1.0)
        assert server.accept()[0].recv(1) == b"x"
