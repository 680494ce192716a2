"""A RabbitMQ server of our own: Debian's, with everything it writes in one folder."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from types import TracebackType

from tinymlaas.contract.errors import Failure
from tinymlaas.services.process import NotReady, ServerProcess
from tinymlaas.services.state import State, locked, remembered

AMQP_VARIABLE = "TINYMLAAS_AMQP_URL"
# Not the wrapper in /usr/sbin, which insists on becoming the user rabbitmq.
_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_READY_SECONDS = 90.0
_STOP_SECONDS = 30.0
_PORTS = 3  # AMQP, Erlang distribution, Erlang port mapper

# Listens on loopback alone. Limits are absolute: a share of the machine would be the machine's,
# not ours. The consumer timeout is raised over the half hour a compile may not pass otherwise.
_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = {user}
default_pass = {secret}
default_vhost = /
loopback_users = none
log.console = true
log.console.level = warning
log.file = false
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 64MB
raft.wal_max_size_bytes = 67108864
consumer_timeout = 14400000
"""


class RabbitMQ:
    """A private RabbitMQ; a context manager that starts and stops it.

    All state, messages too, is in `folder` and is found again at the next start, which is on the
    same ports unless somebody else has taken them.
    """

    def __init__(self, folder: Path) -> None:
        """Choose where; nothing is started."""
        self._folder = folder.absolute()
        self._hold = contextlib.ExitStack()
        self._state: State | None = None
        self._mapper: ServerProcess | None = None
        self._server: ServerProcess | None = None

    def __enter__(self) -> RabbitMQ:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The AMQP URL that clients use, with user and secret.

        Raises:
            Failure: it was never started.
        """
        if self._state is None:
            raise Failure("the private RabbitMQ was not started")
        port, state = self._state.ports[0], self._state
        return f"amqp://{state.user}:{state.secret}@127.0.0.1:{port}/%2F"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point clients at this server."""
        return {AMQP_VARIABLE: self.url}

    @property
    def pid(self) -> int | None:
        """Process id of the server, or None if it does not run."""
        return self._server.pid if self._server is not None else None

    def start(self) -> None:
        """Start the server and wait until it serves clients.

        Raises:
            Failure: it cannot be started, in a line that quotes its log.
        """
        if self._state is None:
            self._hold.enter_context(locked(self._folder))
        try:
            self._state = self._state or remembered(self._folder, _PORTS)
            self._launch(self._state)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it in good order and let go of the folder."""
        if self._server is not None:
            self._server.stop(_STOP_SECONDS)
        if self._mapper is not None:
            self._mapper.kill()
        self._hold.close()
        self._hold, self._state = contextlib.ExitStack(), None

    def restart(self) -> None:
        """Stop it in good order and start it again on the same ports, as an upgrade would."""
        if self._server is not None:
            self._server.stop(_STOP_SECONDS)
        self.start()

    def kill(self) -> None:
        """Kill the server (SIGKILL), as a crash would; `start` brings it back on the same ports."""
        if self._server is not None:
            self._server.kill()

    def _launch(self, state: State) -> None:
        amqp, distribution, mapper = state.ports
        program = _program()
        (self._folder / "enabled_plugins").write_text("[].\n")
        configuration = self._folder / "rabbitmq.conf"
        configuration.touch(0o600)
        configuration.write_text(
            _CONFIGURATION.format(port=amqp, user=state.user, secret=state.secret)
        )
        environment = _environment(self._folder, amqp, distribution, mapper)
        if self._mapper is None or not self._mapper.running:
            # In the foreground and ours: RabbitMQ would start one that outlives it.
            command = ["epmd", "-address", "127.0.0.1", "-port", str(mapper)]
            self._mapper = ServerProcess("epmd", command, environment, self._folder)
            self._mapper.start()
        self._server = ServerProcess("rabbitmq", [str(program)], environment, self._folder)
        self._server.start()
        self._server.await_ready(lambda: _probe(self.url), _READY_SECONDS)


def _program() -> Path:
    if not _PROGRAM.is_file():
        raise Failure(f"there is no {_PROGRAM}: apt-get install rabbitmq-server")
    return _PROGRAM


def _environment(folder: Path, amqp: int, distribution: int, mapper: int) -> dict[str, str]:
    """All that RabbitMQ reads; nothing of ours leaks into it, and it writes nowhere else."""
    return {
        "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),  # the Erlang cookie
        "LANG": "C.UTF-8",
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "tinymlaas@localhost",  # the port mapper is ours: no other such node
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "no-such-file"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "no-such-file"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_CRASH_DUMP_BYTES": "0",
    }


def _probe(url: str) -> None:
    import pika
    import pika.exceptions

    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.blocked_connection_timeout = 5
    try:
        # Pika logs page-long errors of every refused connection, so we knock first.
        socket.create_connection((parameters.host, parameters.port), timeout=5).close()
        connection = pika.BlockingConnection(parameters)
        connection.channel().close()
        connection.close()
    except (pika.exceptions.AMQPError, OSError) as error:
        raise NotReady(f"{type(error).__name__} {error}".strip()) from error
