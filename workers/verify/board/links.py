"""Bytes to and from a board: a serial device, or a TCP connection to whatever has one."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from typing import Protocol

from tinymlaas.contract.errors import Failure, UsageError

_BAUD = 115_200
_TCP_BAUD = (
    9_600  # nobody tells how fast the UART is at the other end: waited for as for a slow one
)
_BITS = 10  # a byte takes on the line: start, 8 of data, stop
_TCP = ("tcp://", "socket://")
_CHUNK = 4096


class LinkFailed(Failure):
    """The way to the board cannot be opened, or has broken."""


class Link(Protocol):
    """Both ends may send at any time; nothing is framed here."""

    @property
    def name(self) -> str:
        """What the user called it."""

    @property
    def speed(self) -> float:
        """Bytes a second that surely pass; some of what was sent may still be under way."""

    def send(self, data: bytes, seconds: float) -> None:
        """Send all of `data`; raises `LinkFailed` if for `seconds` none of it is taken."""

    def receive(self, seconds: float) -> bytes:
        """Return what has come, at the latest after `seconds`; nothing if nothing has."""


@contextlib.contextmanager
def opened(place: str) -> Iterator[Link]:
    """Open ``/dev/ttyACM0``, ``/dev/ttyACM0:57600`` (baud; 115200 else) or ``tcp://host:port``.

    Raises:
        UsageError: `place` is none of these, the speed is none that the device can have, or there
            is no such device, or none that may be used.
        LinkFailed: it cannot be opened for another reason, or reached.
    """
    link = _tcp(place) if place.startswith(_TCP) else _tty(place)
    try:
        yield link
    finally:
        link.close()


class _Descriptor:
    """A link over any file descriptor that `select` can wait for."""

    def __init__(self, name: str, descriptor: int, speed: float) -> None:
        self.name = name
        self.speed = speed
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def send(self, data: bytes, seconds: float) -> None:
        """See `Link.send`."""
        while data:
            self._wait_to_write(seconds)
            with self._broken(), contextlib.suppress(BlockingIOError):
                data = data[os.write(self._descriptor, data[:_CHUNK]) :]

    def receive(self, seconds: float) -> bytes:
        """See `Link.receive`."""
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, seconds))
        if not ready:
            return b""
        try:
            with self._broken():
                data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:  # somebody else has the device open too, and was faster
            return b""
        if not data:
            raise LinkFailed(f"{self.name} was closed at the other end")
        return data

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)

    def _wait_to_write(self, seconds: float) -> None:
        _, ready, _ = select.select([], [self._descriptor], [], max(0.0, seconds))
        if not ready:
            raise LinkFailed(f"{self.name} takes no bytes: is flow control on that nobody serves?")

    @contextlib.contextmanager
    def _broken(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            raise LinkFailed(f"{self.name}: {error.strerror or error}") from None


def _tcp(place: str) -> _Descriptor:
    host, _, port = place.partition("://")[2].rpartition(":")
    if host.startswith("[") and host.endswith("]"):  # as an IPv6 address stands in a URL
        host = host[1:-1]
    if not host or not port.isdecimal():
        raise UsageError(f"--serial {place}: after :// stand host and port, as in tcp://bench:4000")
    try:
        connection = socket.create_connection((host, int(port)), timeout=10.0)
    except UnicodeError:  # of the codec for names of hosts
        raise UsageError(f"--serial {place}: {host!a} cannot be the name of a host") from None
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or error
        raise LinkFailed(f"{place} cannot be reached: {said}") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Descriptor(place, connection.detach(), _TCP_BAUD / _BITS)


def _tty(place: str) -> _Descriptor:
    import termios

    path, _, speed = place.rpartition(":")
    if not path or not speed.isdecimal():
        path, speed = place, str(_BAUD)
    baud = getattr(termios, f"B{speed}", None)
    if baud is None or speed == "0":
        raise UsageError(f"--serial {place}: {speed} is no speed a serial device here can have")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise UsageError(
            f"--serial {place}: {path} cannot be opened: {error.strerror}; is "
            "the board plugged in, and may you use the port?"
        ) from None
    except OSError as error:
        raise LinkFailed(f"{path} cannot be opened: {error.strerror}") from None
    try:
        _make_raw(descriptor, baud)
    except termios.error:
        os.close(descriptor)
        raise UsageError(f"--serial {place}: {path} is no serial device") from None
    return _Descriptor(place, descriptor, int(speed) / _BITS)


def _make_raw(descriptor: int, baud: int) -> None:
    """Set 8 bits, no parity, one stop bit, no flow control, and no byte changed."""
    import termios

    characters = termios.tcgetattr(descriptor)[6]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0  # nothing there is not the end
    control = termios.CS8 | termios.CREAD | termios.CLOCAL
    raw = [0, 0, control, 0, baud, baud, characters]
    termios.tcsetattr(descriptor, termios.TCSANOW, raw)
    termios.tcflush(descriptor, termios.TCIOFLUSH)
