"""What a private server must find again in its folder: its ports and its secret."""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from storage.files import make_private_folder
from tinymlaas.contract.errors import Failure
from tinymlaas.services.ports import are_free, free_ports

_FILE = "service.json"
_LOCK = "lock"


@dataclass(frozen=True)
class State:
    """Ports, and the name and secret that clients log in with."""

    ports: tuple[int, ...]
    user: str
    secret: str

    def secret_of(self, role: str) -> str:
        """Return the secret of a role besides the one that may do everything."""
        return hmac.new(self.secret.encode(), role.encode(), "sha256").hexdigest()[:32]


def remembered(folder: Path, count: int, *, companions: bool = False) -> State:
    """Return the state kept in `folder` with `count` ports; new ports if the old are taken.

    Raises:
        Failure: the folder cannot be used.
    """
    path = folder / _FILE
    state = _read(path)
    if state is None or len(state.ports) != count:
        state = State((), "tinymlaas", secrets.token_hex(16))
    if not state.ports or not are_free(state.ports, companions=companions):
        state = State(free_ports(count, companions=companions), state.user, state.secret)
        _write(path, state)
    return state


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make `folder` (0700, unless it is there) and keep it to ourselves within this context.

    Raises:
        Failure: another process has it, or it cannot be made.
    """
    try:
        make_private_folder(folder)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Failure(f"cannot use the folder {folder}: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"the servers in {folder} belong to a process that runs") from None
        yield
    finally:
        os.close(lock)


def _read(path: Path) -> State | None:
    try:
        fields = json.loads(path.read_text())
        return State(tuple(map(int, fields["ports"])), str(fields["user"]), str(fields["secret"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, state: State) -> None:
    scratch = path.with_suffix(".new")
    scratch.touch(0o600)
    scratch.write_text(json.dumps(asdict(state)))
    scratch.replace(path)
