"""`Signer` whose private key is in another process, reached by a Unix socket.

One request a connection; each message goes after its length, four bytes, big-endian:

    request   K                      which key signs?
              S and the data         sign this
    answer    = and the key (PEM), or the signature (DER)
              ! and a reason (UTF-8)

Both sides ask the kernel who the other one is (SO_PEERCRED).
"""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path

from storage.dsse import MAX_ENVELOPE_BYTES
from storage.signing import PublicKey, load_public_key
from tinymlaas.contract.errors import Failure, RetryableFailure, VerificationError

ASK_KEY, ASK_SIGNATURE = b"K", b"S"
DONE, REFUSED = b"=", b"!"
MAX_FRAME_BYTES = MAX_ENVELOPE_BYTES
_LENGTH = struct.Struct(">I")
_PEER = struct.Struct("3i")  # struct ucred: process, user, group
_PATIENCE_SECONDS = 10.0  # a signer that was killed is there again within a second
_PAUSE_SECONDS = 0.05


class BrokenFrame(Exception):
    """The other side has said something else than a whole message, or nothing in time."""


class RemoteSigner:
    """`Signer` that asks the process behind the socket `path`; nothing is asked before it must."""

    def __init__(self, path: Path, seconds: float = _PATIENCE_SECONDS) -> None:
        """Give a signer that is not there `seconds` to come back."""
        self._path = path
        self._seconds = seconds
        self._key: PublicKey | None = None

    @property
    def public_key(self) -> PublicKey:
        """See `Signer.public_key`.

        Raises:
            RetryableFailure: the signer does not answer.
            Failure: what it answers is no key.
        """
        if self._key is None:
            try:
                self._key = load_public_key(self._ask(ASK_KEY))
            except VerificationError as error:
                raise Failure(f"the signer's key cannot be used: {error}") from error
        return self._key

    def sign(self, data: bytes) -> bytes:
        """See `Signer.sign`: a signature that `public_key` verifies.

        Raises:
            RetryableFailure: the signer does not answer, or signs with another key since.
            Failure: it refuses, and says why.
        """
        key = self.public_key
        signature = self._ask(ASK_SIGNATURE + data)
        if not key.verifies(signature, data):
            self._key = None
            raise RetryableFailure("the signer has another key since: to be tried again")
        return signature

    def _ask(self, request: bytes) -> bytes:
        if len(request) > MAX_FRAME_BYTES:
            raise Failure(f"nothing of {len(request):,} bytes is signed")
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                answer = self._answer(request)
                break
            except (OSError, BrokenFrame) as error:
                if time.monotonic() >= deadline:
                    said = getattr(error, "strerror", None) or str(error) or "no answer"
                    raise RetryableFailure(
                        f"the signer at {self._path} does not answer: {said}"
                    ) from error
            time.sleep(_PAUSE_SECONDS)
        kind, content = answer[:1], answer[1:]
        if kind == DONE:
            return content
        raise Failure(f"the signer refuses: {content.decode(errors='replace')}")

    def _answer(self, request: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(self._seconds)
            line.connect(str(self._path))
            user = peer_user(line)
            if user not in {0, os.getuid()}:
                raise Failure(f"what listens at {self._path} is no signer but user {user}'s")
            write_frame(line, request)
            return read_frame(line, self._seconds)


def peer_user(line: socket.socket) -> int:
    """Return the user id of the process at the other end, as it was when it connected."""
    found = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(found)[1])


def write_frame(line: socket.socket, content: bytes) -> None:
    """Send one message. Raises OSError."""
    line.sendall(_LENGTH.pack(len(content)) + content)


def read_frame(line: socket.socket, seconds: float) -> bytes:
    """Return one message of at least a byte, all of which came within `seconds`.

    Raises:
        BrokenFrame: it is too long, empty, cut short or late.
        OSError: the connection broke.
    """
    deadline = time.monotonic() + seconds
    (length,) = _LENGTH.unpack(_exactly(line, _LENGTH.size, deadline))
    if not 0 < length <= MAX_FRAME_BYTES:
        raise BrokenFrame(f"a message of {length:,} bytes; 1 to {MAX_FRAME_BYTES:,} are taken")
    return _exactly(line, length, deadline)


def _exactly(line: socket.socket, count: int, deadline: float) -> bytes:
    found = bytearray()
    while len(found) < count:
        left = deadline - time.monotonic()
        if left <= 0:
            raise BrokenFrame("the message did not come in time")
        line.settimeout(left)
        try:
            more = line.recv(min(count - len(found), 1 << 16))
        except TimeoutError:
            raise BrokenFrame("the message did not come in time") from None
        if not more:
            raise BrokenFrame("the message was cut short")
        found += more
    return bytes(found)
