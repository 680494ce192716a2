"""Several inputs of one size, over a line that damages which of them is meant."""

from __future__ import annotations

import select
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.toolchains.firmware import FIRMWARE_DIR
from workers.verify.board.protocol import Board, BoardFailed
from workers.verify.job import HARNESS_DIR

A, B, C, D = (letter * 8 for letter in (b"A", b"B", b"C", b"D"))


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("harness") / "echo"
    sources = [HARNESS_DIR / name for name in ("harness_uart.c", "measure_plain.c", "ticks_none.c")]
    command: list[str | Path] = [
        "gcc",
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{HARNESS_DIR}",
    ]
    command += [f"-I{FIRMWARE_DIR}", "-o", program, Path(__file__).with_name("echo.c"), *sources]
    subprocess.run(command, check=True)
    return program


class Line:
    """To a process that plays the board. `harm`: what becomes of the n-th request for an input."""

    name, speed = "a bad line", 1e6

    def __init__(self, program: Path) -> None:
        self._board = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.asked = ""
        self.harm: dict[int, list[bytes]] = {}
        self.swallowed = 0

    def send(self, data: bytes, seconds: float) -> None:
        self.asked += chr(data[4])
        pieces = [data]
        if data[4:5] == b"w":
            pieces = self.harm.get(self.asked.count("w"), pieces)
        assert self._board.stdin is not None
        for piece in pieces:
            self._board.stdin.write(piece)

    def receive(self, seconds: float) -> bytes:
        assert self._board.stdout is not None
        ready, _, _ = select.select([self._board.stdout], [], [], max(0.0, seconds))
        data = self._board.stdout.read(4096) if ready else b""
        if data and self.swallowed:
            self.swallowed -= 1
            return b""
        return data

    def close(self) -> None:
        self._board.kill()
        self._board.communicate()


@pytest.fixture
def line(harness: Path) -> Iterator[Line]:
    line = Line(harness)
    yield line
    line.close()


def request(index: int, payload: bytes, sequence: int, meant: int | None = None) -> bytes:
    """Return a request for an input; damaged, if its checksum is for another index."""

    def body(at: int) -> bytes:
        return struct.pack("<BBHI", ord("w"), sequence, at, len(payload)) + payload

    checksum = zlib.crc32(body(index if meant is None else meant))
    return b"TMLQ" + body(index) + struct.pack("<I", checksum)


def test_no_input_goes_over_another_unnoticed(line: Line) -> None:
    board = Board(line, patience=30.0)
    board.init()
    line.harm = {2: [request(0, B, sequence=3, meant=1)]}
    board.run(0, [A, B])
    assert board.read(0, 16) == A + B
    assert line.asked == "iwwwxwwxr", "all inputs are written again, as the board says"


def test_nor_if_nobody_hears_that_it_came_damaged(line: Line) -> None:
    board = Board(line, patience=30.0)
    board.init()
    line.harm = {2: [request(0, B, sequence=3, meant=1)], 3: [request(1, B, sequence=3)]}
    send = line.send

    def deaf_once(data: bytes, seconds: float) -> None:
        send(data, seconds)
        if line.asked == "iww":
            line.swallowed = 1

    line.send = deaf_once  # type: ignore[method-assign]
    board.run(0, [A, B])
    assert board.read(0, 16) == A + B


def test_nor_by_what_was_sent_twice(line: Line) -> None:
    """The repetition of a request that was answered comes damaged, before the run."""
    board = Board(line, patience=30.0)
    board.init()
    whole, damaged = request(1, B, sequence=3), request(1, C, sequence=3, meant=0)
    line.harm = {2: [whole, damaged]}
    board.run(0, [A, B])
    assert board.read(0, 16) == A + B
    board.run(1, [C, D])
    assert board.read(0, 16) == C + D


def test_a_line_that_damages_every_input_is_said_to(line: Line) -> None:
    board = Board(line, patience=30.0)
    board.init()
    line.harm = {n: [request(1, B, sequence=2, meant=0)] for n in range(1, 99)}
    with pytest.raises(BoardFailed, match="8 times a request came to a bad line damaged"):
        board.run(0, [A, B])
