"""A signer of our own: a process that ends with us, and is there again when it was killed."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

from storage.key_folder import public_key_of
from storage.provenance import LOCAL_BUILDER
from storage.remote_signer import RemoteSigner
from storage.signing import PublicKey
from tinymlaas.contract.errors import Failure, StoreError
from tinymlaas.log_lines import LOG_FORMAT_VARIABLE
from tinymlaas.settings import Settings
from tinymlaas.signer.ready import Ready
from workers import guardian

_READY_SECONDS = 30.0
# All that the process is told; nothing else of ours is its affair.
_PASSED = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    LOG_FORMAT_VARIABLE,
)


class OwnSigner:
    """The signing process of one builder, started when it is asked for; a context manager."""

    def __init__(self, keys: Path, pool: str | None = None) -> None:
        """Have it sign with the key in the folder `keys`, for `pool` or (None) a laptop."""
        self._keys = keys
        self._pool = pool
        self._hold = contextlib.ExitStack()
        self._guard = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._folder: Path | None = None
        self.ready = Ready()

    def __enter__(self) -> OwnSigner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id, or None if it does not run."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process is not None else None

    def ensure(self) -> Path:
        """Return its socket, once it listens there; start it (again) unless it runs.

        Raises:
            StoreError: the key cannot be read or made; the process says why.
            Failure: the process cannot be started.
        """
        with self._guard:
            if self._folder is None:
                self._folder = self._hold.enter_context(guardian.scratch("signer"))
            socket = self._folder / "socket"
            if self.pid is None:
                self._end()
                self._start(socket)
            return socket

    def close(self) -> None:
        """End the process and remove its socket."""
        with self._guard:
            self._end()
            self._hold.close()
            self._folder = None

    def _start(self, socket: Path) -> None:
        command = [sys.executable, "-P", "-m", "tinymlaas.signer", "--life"]
        command += ["--socket", str(socket), "--keys", str(self._keys.absolute())]
        command += ["--pool", self._pool] if self._pool else []
        try:
            self._process = subprocess.Popen(
                command,
                env={name: os.environ[name] for name in _PASSED if name in os.environ},
                stdin=subprocess.PIPE,  # which it reads to its end: ours
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise Failure(f"cannot start the signer: {error.strerror or error}") from error
        self.ready = self._heard(self._process)
        if self.ready.wrong:
            self._end()
            raise StoreError(*self.ready.wrong)

    def _heard(self, process: subprocess.Popen[str]) -> Ready:
        assert process.stdout is not None  # noqa: S101 - for the type checker: we asked for a pipe
        if not select.select([process.stdout], [], [], _READY_SECONDS)[0]:
            self._end()
            raise Failure(f"the signer was not ready within {_READY_SECONDS:.0f} s")
        said = Ready.read(process.stdout.readline())
        if said is None:
            self._end()
            raise Failure("the signer ended while starting; what it said is on stderr")
        return said

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class OwnersSigner:
    """`Signer` of this machine's user. Its process is started by the first signature, or where
    there is no key yet: what was signed before is found without it.
    """

    def __init__(self, settings: Settings) -> None:
        """Use the key that `settings` name, or the signer that runs elsewhere already."""
        self._settings = settings
        self._own = None if settings.signer else _kept(settings.keys.absolute())
        self._made: Ready | None = None
        self._remote = RemoteSigner(settings.signer) if settings.signer else None
        self._known: PublicKey | None = None

    @property
    def made(self) -> Ready | None:
        """What the process said of a key that it made just now; None if there was one."""
        return self._made

    @property
    def public_key(self) -> PublicKey:
        """See `Signer.public_key`."""
        if self._known is None and self._own is not None:
            self._known = public_key_of(self._settings.keys, LOCAL_BUILDER)
        if self._known is None:
            self._known = self._signer().public_key
        return self._known

    def sign(self, data: bytes) -> bytes:
        """See `Signer.sign`."""
        signature = self._signer().sign(data)
        if not self.public_key.verifies(signature, data) and self._own is not None:
            self._own.close()  # the key was rotated since it began
            signature = self._signer().sign(data)
        if not self.public_key.verifies(signature, data):
            raise Failure(
                f"the public key in {self._settings.keys} is not that of the private key there"
            )
        return signature

    def close(self) -> None:
        """End the process if there is one."""
        if self._own is not None:
            self._own.close()

    def _signer(self) -> RemoteSigner:
        if self._own is not None:
            runs = self._own.pid is not None
            self._remote = RemoteSigner(self._own.ensure())
            if not runs and self._own.ready.created:
                self._made = self._own.ready
        assert self._remote is not None  # noqa: S101 - either was given
        return self._remote


_latest: dict[Path, OwnSigner] = {}


def _kept(keys: Path) -> OwnSigner:
    """Return this process's signer for a folder of keys: a start takes half a second.

    One is kept, of the folder asked for last; another that is still used starts again.
    """
    if keys not in _latest:
        for other in _latest.values():
            other.close()
        _latest.clear()
        _latest[keys] = OwnSigner(keys)
        atexit.register(_latest[keys].close)
    return _latest[keys]
