"""Requests and answers of the harness on a board (`harness/harness_uart.c` has the format)."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from tinymlaas.contract.errors import Failure
from workers.verify.board.links import Link

_REQUEST, _ANSWER = b"TMLQ", b"TMLA"
_REQUEST_HEAD = struct.Struct("<BBHI")
_ANSWER_HEAD = struct.Struct("<BBHI")
_SUM = struct.Struct("<I")
_HELLO = struct.Struct("<IIII64s")
_MEASUREMENT = struct.Struct("<iIII")
_DAMAGED, _SPOILED = 1, 3
_PROTOCOL = 2
_AGAIN = 1.0
_TRIES = 8
_SLOWEST = 100  # bytes a second


class BoardFailed(Failure):
    """The board did not answer, or answered that it could not do what it was asked."""


class _InputsSpoiled(Exception):
    """One came damaged to the board, and nobody knows over which one it was written."""


@dataclass(frozen=True)
class Facts:
    """What the harness says of itself; `module` is the SHA-256 of the archive it was made from."""

    inputs: int
    outputs: int
    counts_instructions: bool
    module: str


@dataclass(frozen=True)
class Measured:
    """One call on the board: its status and the 64-bit counter's difference over it."""

    status: int
    count: int


@dataclass(frozen=True)
class _Answer:
    sequence: int
    kind: int
    status: int
    payload: bytes


class Board:
    """The harness behind `link`. Nothing it sends is believed before its checksum is right."""

    def __init__(self, link: Link, patience: float) -> None:
        """`patience`: seconds of silence after which the board counts as gone."""
        self._link = link
        self._patience = patience
        self._sequence = 0
        self._received = b""

    def hello(self) -> Facts:
        """Ask the harness what it is.

        Raises:
            BoardFailed: no answer, or that of another version of the harness.
        """
        version, inputs, outputs, counts, module = _HELLO.unpack(self._ask("h", _HELLO.size))
        if version != _PROTOCOL:
            raise BoardFailed(
                f"the harness on {self._link.name} is of another version ({version}): export it "
                "again with 'tinymlaas harness'"
            )
        return Facts(inputs, outputs, bool(counts), module.decode(errors="replace"))

    def init(self) -> Measured:
        """Have the module initialised; return what measuring nothing takes.

        Raises:
            BoardFailed: the module refuses.
        """
        found = self._measured("i", 0)
        if found.status != 0:
            raise BoardFailed(f"on {self._link.name} the module's init returned {found.status}")
        return found

    def run(self, number: int, inputs: Sequence[bytes]) -> Measured:
        """Run one inference on `inputs`, the `number`-th since init.

        Raises:
            BoardFailed: no answer, or the module's invoke returned an error.
        """
        for _ in range(_TRIES):
            for index, data in enumerate(inputs):
                self._ask("w", 0, index, data)
            found = self._invoke(number)
            if found is not None:
                return found
        raise self._damage()

    def read(self, index: int, size: int) -> bytes:
        """Return the `size` bytes of output `index`."""
        return self._ask("r", size, index)

    def _invoke(self, run: int) -> Measured | None:
        """Have the board run, which it does once though asked twice; None if inputs are spoiled."""
        try:
            found = self._measured("x", run)
        except _InputsSpoiled:
            return None
        if found.status != 0:
            raise BoardFailed(f"on {self._link.name} the module's invoke returned {found.status}")
        return found

    def _measured(self, kind: str, index: int) -> Measured:
        status, fine, coarse, _ = _MEASUREMENT.unpack(self._ask(kind, _MEASUREMENT.size, index))
        return Measured(status, coarse << 32 | fine)

    def _ask(self, kind: str, size: int, index: int = 0, payload: bytes = b"") -> bytes:
        """Return the answer's payload of `size` bytes, asking again where something got lost."""
        self._sequence = (self._sequence + 1) % 256
        head = _REQUEST_HEAD.pack(ord(kind), self._sequence, index, len(payload))
        body = head + payload
        request = _REQUEST + body + _SUM.pack(zlib.crc32(body))
        damaged, silence, wait = 0, 0.0, _AGAIN
        while damaged < _TRIES:
            sent = self._send(request)
            answer = self._answer(ord(kind), size, sent, min(wait, self._patience - silence))
            wait *= 2
            if answer is None:
                silence += time.monotonic() - sent
                if silence >= self._patience:
                    raise self._silence()
            elif answer.status == _DAMAGED:
                damaged, silence = damaged + 1, 0.0
            elif answer.status == _SPOILED:
                raise _InputsSpoiled
            elif len(answer.payload) == size:
                return answer.payload
            else:
                raise BoardFailed(f"the harness on {self._link.name} refuses the request '{kind}'")
        raise self._damage()

    def _send(self, request: bytes) -> float:
        """Send `request`; return when the last of it will have left the line, at the latest."""
        begun = time.monotonic()
        self._link.send(request, self._patience)
        return max(time.monotonic(), begun + len(request) / self._link.speed)

    def _answer(self, kind: int, size: int, sent: float, wait: float) -> _Answer | None:
        """Return the answer, or that a request came damaged, or None.

        Nothing is waited for longer than `wait` seconds after the last byte, or after `sent`.
        """
        end = sent + wait
        last = end + self._patience + size / _SLOWEST  # however much comes that is no answer
        while True:
            answer = self._next(size)
            if answer is not None:
                if (answer.kind, answer.sequence) == (kind, self._sequence):
                    return answer
                if answer.status == _DAMAGED:  # of a request whose very head was damaged
                    return answer
                continue
            data = self._link.receive(end - time.monotonic())
            self._received += data
            if data:
                end = min(last, max(end, time.monotonic() + wait))
            if time.monotonic() >= end:
                return None

    def _next(self, size: int) -> _Answer | None:
        """Take the next whole answer from what was received, passing over all else."""
        while True:
            start = self._received.find(_ANSWER)
            if start < 0:
                self._received = self._received[-len(_ANSWER) + 1 :]
                return None
            self._received = self._received[start:]
            body = len(_ANSWER)
            if len(self._received) < body + _ANSWER_HEAD.size:
                return None
            kind, sequence, status, length = _ANSWER_HEAD.unpack_from(self._received, body)
            end = body + _ANSWER_HEAD.size + length
            if length > max(size, _MEASUREMENT.size):  # no length of an answer to what was asked
                self._received = self._received[1:]
                continue
            if len(self._received) < end + _SUM.size:
                return None
            (checksum,) = _SUM.unpack_from(self._received, end)
            if checksum != zlib.crc32(self._received[body:end]):
                self._received = self._received[1:]
                continue
            payload = self._received[body + _ANSWER_HEAD.size : end]
            self._received = self._received[end + _SUM.size :]
            return _Answer(sequence, kind, status, payload)

    def _silence(self) -> BoardFailed:
        return BoardFailed(
            f"no answer from the board at {self._link.name} within {self._patience:g} s: is the "
            "harness flashed and running, the port the right one and its speed the board's?"
        )

    def _damage(self) -> BoardFailed:
        return BoardFailed(
            f"{_TRIES} times a request came to {self._link.name} damaged: are speed, parity and "
            "stop bits (8N1) the same at both ends, and does the board lose bytes?"
        )
