"""A whole farm on one machine: a scheduler and a worker for each pool, kept running.

With a private broker and store it needs nothing but this machine, and finds its unfinished jobs
again when it is started on the same state.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.topology import Names
from storage import files
from tinymlaas import farm_settings, settings
from tinymlaas.contract.errors import Failure, UsageError
from tinymlaas.contract.pool_messages import PREPARE_POOL
from tinymlaas.farm.environment import POOLS_VARIABLE, from_environment, parse_pools
from tinymlaas.farm.keeping import Keeper, Kept, Say
from tinymlaas.farm.member import FarmMember
from tinymlaas.farm.private import DIRECT, Private, isolate, private_servers
from tinymlaas.farm.process import Stop
from tinymlaas.farm.roles import SCHEDULER, Role, roles, tenant_role, worker_role
from tinymlaas.farm_settings import checked_tenant
from tinymlaas.keyrings import KEYRING_NAME, adopt
from tinymlaas.services.process import NotReady
from tinymlaas.services.state import locked
from tinymlaas.status import access as status
from tinymlaas.status.access import TOKEN_VARIABLE
from workers.compilers import registry

ENV_FILE = "env"
OPERATORS_ENV_FILE = "operator.env"
METRICS_PREFIX = "TINYMLAAS_METRICS_"
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 10.0
_MOST_WORKERS = 64
TOKEN_FILE = "status-token"  # noqa: S105 - a file's name
_TOKEN_BYTES = 24
# What a client needs; all other variables are its own affair.
_CLIENTS = (
    farm_settings.AMQP_VARIABLE,
    farm_settings.ENDPOINT_VARIABLE,
    farm_settings.BUCKET_VARIABLE,
    farm_settings.PREFIX_VARIABLE,
    farm_settings.TENANT_VARIABLE,
    settings.KEYRING_VARIABLE,
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    *DIRECT,
)


@dataclass(frozen=True)
class Wanted:
    """What `farm up` is to run; `workers` is how many of each pool, `tenants` who may use private
    servers.
    """

    state: Path
    private: bool
    workers: Mapping[str, int]
    tenants: tuple[str, ...] = ()


def parse_workers(pools: Sequence[str]) -> dict[str, int]:
    """Return how many workers of each pool ``NAME`` and ``NAME=N`` ask for; one to prepare always.

    Raises:
        UsageError: one is malformed, or there is no such compiler.
    """
    own = settings.from_environment()
    pools = pools or registry.names(own.compilers)
    wanted: dict[str, int] = {}
    for text in pools:
        name, equals, number = text.partition("=")
        (pool,) = parse_pools(name) or ("",)
        if equals and not (number.isdecimal() and 1 <= int(number) <= _MOST_WORKERS):
            raise UsageError(f"--pool {text}: write NAME or NAME=N, N being 1 to {_MOST_WORKERS}")
        if pool != PREPARE_POOL:
            registry.one(pool, own.compilers)
        wanted[pool] = int(number or 1)
    return {PREPARE_POOL: 1, **wanted}


def parse_tenants(names: Sequence[str]) -> tuple[str, ...]:
    """Return the tenants named, or the one of the environment.

    Raises:
        UsageError: none may be called so.
    """
    found = names or [os.environ.get(farm_settings.TENANT_VARIABLE) or "default"]
    return tuple(dict.fromkeys(checked_tenant(name, "--tenant") for name in found))


def up(wanted: Wanted, say: Say) -> None:
    """Run the farm until told to stop, then drain it; `say` gets lines for a person.

    Raises:
        Failure: something cannot be started, or another farm runs on this state.
        UsageError: the environment names no broker or store.
    """
    state = wanted.state.absolute()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_state(state))
        private = None
        if wanted.private:
            isolate()
            say(f"starting RabbitMQ and S3 below {state}")
            private = stack.enter_context(private_servers(state, _roles(wanted)))
        environment = _environment(wanted, private)
        from_environment(environment)  # tells all that is missing or malformed
        for name, reason in sorted(registry.discover().unavailable.items()):
            say(f"compiler {name} is left out: {reason}")
        opened = _page_opened(state, environment) if private is not None else {}
        farm = _Farm(wanted, environment, private, say, opened)
        farm.start()
        with contextlib.ExitStack() as written:
            for path, variables in _env_files(wanted, environment, private, farm.keyring()):
                written.enter_context(_env_file(path, variables, farm.members))
            farm.run()


@contextlib.contextmanager
def _state(state: Path) -> Iterator[None]:
    """Have the folder to ourselves."""
    try:
        with locked(state):
            (state / "log").mkdir(mode=0o700, exist_ok=True)
            yield
    except BlockingIOError:  # pragma: no cover - `locked` tells it as a Failure
        raise Failure(f"a farm runs on {state} already") from None


def _roles(wanted: Wanted) -> dict[str, Role]:
    """Return the roles of a private farm."""
    names = Names(farm_settings.prefix_from_environment())
    return roles(wanted.workers, wanted.tenants, names)


def _env_files(
    wanted: Wanted, environment: Mapping[str, str], private: Private | None, keyring: Path
) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Yield the files to be written, with their variables: of the first tenant, of each other, and
    of the operator, who may do everything.
    """
    state = wanted.state.absolute()
    known = {**environment, settings.KEYRING_VARIABLE: str(keyring)}
    if private is None:
        yield state / ENV_FILE, known
        return
    yield state / OPERATORS_ENV_FILE, known
    for number, tenant in enumerate(wanted.tenants):
        own = private.variables_of(tenant_role(tenant))
        name = f"{tenant}.{ENV_FILE}" if number else ENV_FILE
        yield state / name, {**known, **own, farm_settings.TENANT_VARIABLE: tenant}


def _environment(wanted: Wanted, private: Private | None) -> dict[str, str]:
    """Return the environment of all children."""
    environment = {**os.environ, POOLS_VARIABLE: ",".join(sorted(wanted.workers))}
    if private is not None:
        environment |= private.variables
        keys = wanted.state.absolute() / "keys"
        environment.setdefault(settings.KEYS_VARIABLE, str(keys))
    own = settings.from_environment(environment).keys
    environment[settings.KEYS_VARIABLE] = str(own)
    environment[settings.KEYRING_VARIABLE] = str(own / KEYRING_NAME)
    return environment


def _page_opened(state: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which a private farm's status page is opened: a token that is made
    once, unless the environment opens it already.
    """
    if status.from_environment(environment) is not None:
        return {}
    path = state / TOKEN_FILE
    if not path.exists():
        files.replace(path, f"{secrets.token_urlsafe(_TOKEN_BYTES)}\n".encode(), state)
    opened = {TOKEN_VARIABLE: path.read_text(errors="replace").strip()}
    if status.from_environment(opened) is None:
        raise Failure(f"{path} is empty: delete it, and another token is made")
    return opened


@dataclass
class _Farm:
    wanted: Wanted
    environment: dict[str, str]
    private: Private | None
    say: Say
    opened: Mapping[str, str] = field(default_factory=dict)
    scheduler: FarmMember = field(init=False)
    workers: list[FarmMember] = field(init=False)

    def __post_init__(self) -> None:
        self._hurry = threading.Event()
        self.scheduler = self._member("scheduler", ["scheduler"], SCHEDULER)
        self.workers = [
            self._member(f"worker {name}", ["workers", "--pool", pool], worker_role(pool))
            for pool, number in sorted(self.wanted.workers.items())
            for name in _numbered(pool, number)
        ]

    @property
    def members(self) -> list[FarmMember]:
        """All processes of ours."""
        return [self.scheduler, *self.workers]

    def start(self) -> None:
        """Start all and return when they are ready.

        Raises:
            Failure: one of them ended.
        """
        for server in self.private.servers if self.private else ():
            self.say(f"{server.name:<18} {_address(server.name, self.environment)}")
        try:
            for member in self.members:
                member.start()
                self.say(f"{member.name:<18} pid {member.pid}, {member.url}/metrics")
            self._await_ready()
        except BaseException:
            self._kill_members()
            raise

    def run(self) -> None:
        """Keep all running until told to stop, then let them end in order."""
        stop = Stop(self._hurry.set)
        servers = self.private.servers if self.private else ()
        kept: list[Kept] = [*self.members, *servers]
        keepers = [Keeper(each, self.say) for each in kept]
        if status.from_environment({**self.environment, **self.opened}) is not None:
            token = self.wanted.state.absolute() / TOKEN_FILE
            where = f"   (its token is in {token})" if self.opened else ""
            self.say(f"status page at {self.scheduler.url}/{where}")
        self.say(f"ready: . {self.wanted.state.absolute() / ENV_FILE}   (Ctrl-C drains)")
        try:
            while not stop.wait(1.0):
                pass
            self.say("draining: workers end their tasks; a second Ctrl-C stops them at once")
            for keeper in keepers:
                keeper.release()
            self._drain(self.workers)
            self._drain([self.scheduler])
        finally:
            self._kill_members()
            if self._hurry.is_set() and self.private is not None:
                self.private.kill()
        self.say("stopped; what is unfinished goes on when the farm is up again")

    def keyring(self) -> Path:
        """Return the keyring that names the keys of all pools, whose signers have made them.

        Raises:
            StoreError: it cannot be made.
        """
        return adopt(settings.from_environment(self.environment).keys)

    def _member(self, name: str, arguments: list[str], role: str) -> FarmMember:
        own = self.private.variables_of(role) if self.private is not None else {}
        environment = {**self.environment, **own}
        if role == SCHEDULER:
            environment |= self.opened
        else:  # whoever has the token may see what all tenants do
            environment.pop(TOKEN_VARIABLE, None)
        return FarmMember(name, arguments, environment, self.wanted.state.absolute() / "log")

    def _await_ready(self) -> None:
        waiting = list(self.members)
        said = time.monotonic()
        while waiting:
            wrong = next(filter(None, (each.wrong_environment() for each in waiting)), None)
            ended = next((each for each in waiting if not each.running), None)
            if wrong or ended:
                raise wrong or Failure(f"{ended.name} {ended.how_it_ended()}")  # type: ignore[union-attr]
            late = time.monotonic() - said > _PATIENCE_SECONDS
            for member in list(waiting):
                try:
                    member.check_ready()
                    waiting.remove(member)
                except NotReady as error:
                    if late:
                        self.say(f"{member.name}: {error}")
                        said = time.monotonic()
            time.sleep(_POLL_SECONDS)

    def _drain(self, members: Sequence[FarmMember]) -> None:
        for member in members:
            member.terminate()
        while any(member.running for member in members) and not self._hurry.is_set():
            time.sleep(_POLL_SECONDS)

    def _kill_members(self) -> None:
        for member in self.members:
            member.kill()


def _numbered(pool: str, number: int) -> list[str]:
    return [pool, *(f"{pool}-{each}" for each in range(2, number + 1))]


def _address(name: str, environment: Mapping[str, str]) -> str:
    if name == "S3":
        bucket = environment[farm_settings.BUCKET_VARIABLE]
        return f"{environment[farm_settings.ENDPOINT_VARIABLE]}, bucket {bucket}"
    return re.sub(r"//.*@", "//", environment[farm_settings.AMQP_VARIABLE])


@contextlib.contextmanager
def _env_file(
    path: Path, environment: Mapping[str, str], members: Sequence[FarmMember]
) -> Iterator[None]:
    """Have the file there for the duration: whole, and readable by its owner alone."""
    values = {name: environment[name] for name in _CLIENTS if name in environment}
    values.setdefault(farm_settings.PREFIX_VARIABLE, "")
    for member in members:
        name = re.sub(r"[^A-Z0-9]", "_", member.name.removeprefix("worker ").upper())
        values[f"{METRICS_PREFIX}{name}"] = f"{member.url}/metrics"
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    files.replace(path, "".join(lines).encode(), path.parent)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
