"""The signer's loop: one connection, one request, one answer at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
from pathlib import Path
from typing import Any

from storage import files
from storage.remote_signer import (
    ASK_KEY,
    ASK_SIGNATURE,
    DONE,
    REFUSED,
    BrokenFrame,
    peer_user,
    read_frame,
    write_frame,
)
from storage.signing import Signer
from tinymlaas.contract.errors import Failure, TinymlaasError
from tinymlaas.signer.leave import Leave

_REQUEST_SECONDS = 5.0  # all of a request: who is slower keeps others waiting
_WAITING = 64  # connections that wait for their turn
_log = logging.getLogger(__name__)


def listen(path: Path, *, make_folder: bool) -> socket.socket:
    """Return a socket that listens at `path`, in a folder (0700) that only we may enter.

    The folder is made if `make_folder`. Where it is the scratch of who started us it is not: it may
    have been removed meanwhile, as its owner was killed, and nobody would remove ours.

    Raises:
        Failure: others may enter the folder, or it cannot be used.
    """
    try:
        if make_folder:
            files.make_private_folder(path.parent)
        found = path.parent.stat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise Failure(
                f"others may enter {path.parent}: the signer's socket needs a folder of 0700"
            )
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(_WAITING)
    except OSError as error:
        raise Failure(f"cannot listen at {path}: {error.strerror or error}") from error
    return listener


def leave_nothing(path: Path) -> None:
    """Remove the socket at `path` and its folder, whose owner has ended and may have missed it."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()


class Server:
    """Answers with `signer` what `leave` allows."""

    def __init__(self, signer: Signer, leave: Leave) -> None:
        """Answer nothing yet; see `serve`."""
        self._signer = signer
        self._leave = leave

    def serve(self, listener: socket.socket, life: int) -> None:
        """Answer until `life`, a pipe from whoever started us, ends."""
        watched: list[Any] = [listener, life]
        while True:
            ready = select.select(watched, [], [])[0]
            if life in ready and not os.read(life, 1):
                return
            if listener in ready:
                with contextlib.suppress(OSError):  # who asked has gone; it may ask again
                    line, _ = listener.accept()
                    with line:
                        self._serve_one(line)

    def _serve_one(self, line: socket.socket) -> None:
        user = peer_user(line)
        if user != os.getuid():
            _log.warning("user %d was turned away", user)
            return
        try:
            answer = DONE + self._answer(read_frame(line, _REQUEST_SECONDS))
        except BrokenFrame as error:
            answer = REFUSED + str(error).encode()
        except TinymlaasError as error:
            _log.warning("not signed: %s", error)
            answer = REFUSED + str(error).encode(errors="replace")
        except Exception:  # whatever a request may do to us, the next one is served
            _log.exception("a request could not be dealt with")
            answer = REFUSED + b"the request cannot be dealt with; see the signer's log"
        line.settimeout(_REQUEST_SECONDS)
        write_frame(line, answer)

    def _answer(self, request: bytes) -> bytes:
        kind, data = request[:1], request[1:]
        if kind == ASK_KEY and not data:
            return self._signer.public_key.pem
        if kind != ASK_SIGNATURE:
            raise Failure("the request is neither for the key nor for a signature")
        statement = self._leave.check(data)
        _log.info("signs module %s", statement.archive_digest[:12])
        return self._signer.sign(data)
