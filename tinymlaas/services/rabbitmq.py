"""A RabbitMQ server of our own: Debian's, with everything it writes in one folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from broker.powers import Power, definitions, operator
from tinymlaas.contract.errors import Failure
from tinymlaas.services.private import PrivateServer
from tinymlaas.services.process import NotReady, ServerProcess
from tinymlaas.services.state import State

AMQP_VARIABLE = "TINYMLAAS_AMQP_URL"
# Not the wrapper in /usr/sbin, which insists on becoming the user rabbitmq.
_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_READY_SECONDS = 90.0

# Erlang's idle threads would spin before they sleep, which on a machine of few cores is taken from
# those who work: a start under load took 12 s with it and 9 s without.
_ERLANG = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"

# Listens on loopback alone. Limits are absolute: a share of the machine would be the machine's,
# not ours. The consumer timeout is raised over the half hour a compile may not pass otherwise.
_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
load_definitions = {users}
loopback_users = none
log.console = true
log.console.level = warning
log.file = false
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 64MB
raft.wal_max_size_bytes = 67108864
consumer_timeout = 14400000
# Four times what the farm says at most: JSON within JSON, each character escaped.
max_message_size = 33554432
"""


class RabbitMQ(PrivateServer):
    """A private RabbitMQ; all state, messages too, is in its folder."""

    _TITLE = "the private RabbitMQ"
    _PORTS = 3  # AMQP, Erlang distribution, Erlang port mapper
    _STOP_SECONDS = 30.0

    def __init__(self, folder: Path, roles: Mapping[str, Power] | None = None) -> None:
        """Choose where, and users besides the operator, by name; nothing is started."""
        super().__init__(folder)
        self._roles = dict(roles or {})
        self._mapper: ServerProcess | None = None

    @property
    def url(self) -> str:
        """The AMQP URL that clients use, with user and secret.

        Raises:
            Failure: it was never started.
        """
        return self._url(self._known.user, self._known.secret)

    def url_of(self, role: str) -> str:
        """Return the AMQP URL with which one of the roles logs in.

        Raises:
            Failure: it was never started.
        """
        return self._url(role, self._known.secret_of(role))

    def _url(self, user: str, secret: str) -> str:
        return f"amqp://{user}:{secret}@127.0.0.1:{self._known.ports[0]}/%2F"

    def allow(self, roles: Mapping[str, Power]) -> None:
        """Have a running server know more roles, or other powers of the same.

        Raises:
            Failure: it cannot be told.
        """
        self._roles |= roles
        path = self._write_users(self._known)
        amqp, distribution, mapper = self._known.ports
        told = subprocess.run(
            [str(_PROGRAM.with_name("rabbitmqctl")), "import_definitions", str(path)],
            env=_environment(self._folder, amqp, distribution, mapper),
            capture_output=True,
            text=True,
            check=False,
        )
        if told.returncode:
            raise Failure(f"RabbitMQ does not take its users: {told.stderr[-300:]}")

    def _write_users(self, state: State) -> Path:
        """Write operator and roles where RabbitMQ reads them at each start; return the path."""
        users = {name: (state.secret_of(name), power) for name, power in self._roles.items()}
        found = definitions({state.user: (state.secret, operator()), **users})
        path = self._folder / "definitions.json"
        path.touch(0o600)
        path.write_text(json.dumps(found))
        return path

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point clients at this server.

        Raises:
            Failure: it was never started.
        """
        return {AMQP_VARIABLE: self.url}

    def _launch(self, state: State) -> None:
        amqp, distribution, mapper = state.ports
        program = _program()
        (self._folder / "enabled_plugins").write_text("[].\n")
        configuration = self._folder / "rabbitmq.conf"
        configuration.touch(0o600)
        configuration.write_text(_CONFIGURATION.format(port=amqp, users=self._write_users(state)))
        environment = _environment(self._folder, amqp, distribution, mapper)
        if self._mapper is None or not self._mapper.running:
            # In the foreground and ours: RabbitMQ would start one that outlives it.
            command = ["epmd", "-address", "127.0.0.1", "-port", str(mapper)]
            self._mapper = ServerProcess("epmd", command, environment, self._folder)
            self._hold.callback(self._mapper.kill)  # it goes on while the server is restarted
            self._mapper.start()
        self._server = ServerProcess("rabbitmq", [str(program)], environment, self._folder)
        self._server.start()
        self._server.await_ready(lambda: _probe(self.url), _READY_SECONDS)

    def _tidy(self) -> None:
        """Do nothing: it writes in its folder alone."""


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
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
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
