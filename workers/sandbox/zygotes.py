"""Zygotes as the outside has them: started when first needed, kept, replaced when they have died.

A process has its own, or uses those of the process that started it (`Settings.folder`): the
processes of a worker's tasks come and go, and the worker keeps what is warm.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinymlaas.contract.errors import Failure
from workers import guardian
from workers.sandbox import bubblewrap
from workers.sandbox.limits import DEFAULTS, Limits, Step

_BACKLOG = 64
_DYING_SECONDS = 1.0


@dataclass(frozen=True)
class Settings:
    """How jobs run: within which `limits`; without any sandbox if `unsafe`; forked from the zygotes
    below `folder` as far as those exist.
    """

    limits: Mapping[Step, Limits] = field(default_factory=lambda: DEFAULTS)
    unsafe: bool = False
    folder: Path | None = None


@dataclass(frozen=True)
class Base:
    """What a zygote is: the modules it has imported and the folders of others that it can read."""

    preload: tuple[str, ...] = ()
    readable: tuple[Path, ...] = ()

    @property
    def socket_name(self) -> str:
        """The name of its socket: short, as the path of a socket is."""
        facts = repr((self.preload, [str(path) for path in self.readable]))
        return hashlib.sha256(facts.encode()).hexdigest()[:16]


class Zygotes:
    """All zygotes of this process."""

    def __init__(self) -> None:
        """Start none yet."""
        self._lock = threading.Lock()
        self._settings = Settings()
        self._folder: Path | None = None
        self._keep = contextlib.ExitStack()
        self._started: dict[Base, _Zygote] = {}

    @property
    def settings(self) -> Settings:
        """How jobs run."""
        return self._settings

    def configure(self, settings: Settings) -> None:
        """Have jobs run as `settings` say; zygotes of other settings are ended."""
        with self._lock:
            if settings.unsafe != self._settings.unsafe:
                self._end_all()
            self._settings = settings

    def shared(self) -> Settings:
        """Return settings for a process that is to use our zygotes, of which none is dead."""
        with self._lock:
            for base in self._started:
                self._running(base)
            return Settings(self._settings.limits, self._settings.unsafe, self._place())

    def ensure(self, base: Base) -> None:
        """Start the zygote of `base` if it does not run.

        Raises:
            Failure: it cannot be started.
        """
        with self._lock:
            self._running(base)

    def connect(self, base: Base) -> tuple[socket.socket, _Zygote | None]:
        """Return a connection to a zygote of `base`, for one job; and the zygote if it is ours.

        Raises:
            Failure: none can be started; the reason says what to install or to allow.
        """
        theirs = self._settings.folder
        if theirs is not None:
            with contextlib.suppress(OSError):
                return _connected(theirs / base.socket_name), None
        with self._lock:
            zygote = self._running(base)
        with contextlib.suppress(OSError):
            return _connected(zygote.path), zygote
        raise Failure(zygote.why())

    def _running(self, base: Base) -> _Zygote:
        zygote = self._started.get(base)
        if zygote is not None and zygote.runs:
            return zygote
        place = self._place()
        path = place / base.socket_name
        path.unlink(missing_ok=True)
        zygote = self._started[base] = _Zygote(path, base, bare=self._settings.unsafe)
        return zygote

    def _place(self) -> Path:
        """Return the folder of our sockets, which lasts as long as we."""
        if self._folder is None:
            self._folder = self._keep.enter_context(guardian.scratch("zygotes"))
        return self._folder

    def close(self) -> None:
        """End all and remove their folder. At an orderly end this must be done before Python takes
        itself apart: a thread that is stopped there with a lock in its hand is waited for for ever.
        """
        with self._lock:
            self._end_all()
            self._keep.close()
            self._folder = None

    def _end_all(self) -> None:
        for zygote in self._started.values():
            zygote.end()
        self._started.clear()


class _Zygote:
    """One zygote, from our side."""

    def __init__(self, path: Path, base: Base, *, bare: bool) -> None:
        self.path = path
        self._bare = bare
        self._log = path.with_suffix(".log")
        self._failed: OSError | None = None
        self._process: subprocess.Popen[bytes] | None = None
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(path))
        except OSError as error:
            raise Failure(
                f"no sandbox can be started below {path.parent}: {error}; "
                "set TMPDIR to a short path"
            ) from None
        listener.listen(_BACKLOG)
        folder = str(path.with_suffix(".jobs")) if bare else ""
        if bare:
            path.with_suffix(".jobs").mkdir(exist_ok=True)
        program = [
            sys.executable,
            "-P",
            "-m",
            "workers.sandbox.zygote",
            str(listener.fileno()),
            folder,
        ]
        program += base.preload
        argv = program if bare else bubblewrap.command(program, base.readable)
        begun = threading.Event()
        # A thread of its own that lives as long as the zygote: the kernel ends the zygote with the
        # *thread* that has started it, and those of a race come and go.
        self._thread = threading.Thread(
            target=self._keep, args=(argv, listener, begun), name=f"zygote {path.name}", daemon=True
        )
        self._thread.start()
        begun.wait()
        if self._failed is not None:
            raise Failure(f"there is no sandbox: {argv[0]}: {self._failed.strerror}")

    def has_died(self) -> bool:
        """Return whether it has ended, or is about to."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process is not None:
                self._process.wait(_DYING_SECONDS)
        return not self.runs

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def why(self) -> str:
        """Say why it takes no jobs."""
        said = [line for line in self._said().split("\n") if line.strip()]
        reason = said[-1][:300] if said else "its zygote has ended"
        hint = "allow user namespaces here (docs/sandbox.md; on Kubernetes deploy/node/README.md)"
        return f"there is no sandbox: {reason}; {hint}"

    def end(self) -> None:
        """Kill it and all its jobs."""
        if self._process is not None:
            guardian.kill_group(self._process.pid)
        self._thread.join(_DYING_SECONDS)

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            return self._log.read_text(errors="replace")
        return ""

    def _keep(self, argv: list[str], listener: socket.socket, begun: threading.Event) -> None:
        here = str(self.path.parent)
        environment = {**bubblewrap.variables(), "HOME": here, "TMPDIR": here}
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    argv,
                    env=environment,
                    stdin=subprocess.PIPE,  # closes with us: then the zygote ends, however late
                    stdout=log,
                    stderr=log,
                    pass_fds=[listener.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            self._failed = error
            return
        finally:
            listener.close()
            begun.set()
        with guardian.group(self._process.pid):
            self._process.wait()


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection
