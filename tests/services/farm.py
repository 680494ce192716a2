"""A farm of real processes against the tests' RabbitMQ and S3 server.

    with farm(tmp_path, ["stub"], compilers=[folder]) as running:
        ...                                # running.environment points clients at it
        running.workers["stub"][0].kill()  # SIGKILL; `start` brings it back

Queues have a prefix of their own and objects a bucket of their own, both removed at the end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.connecting import connect
from broker.declaring import remove
from broker.topology import Names, topology
from storage.s3 import S3Store, open_s3
from tests.services import running
from tests.unit.scaffold.project import ROOT
from tinymlaas.contract.pool_messages import PREPARE_POOL
from tinymlaas.farm.member import FarmMember
from tinymlaas.keyrings import adopt

READY_SECONDS = 90.0
STOP_SECONDS = 60.0


class FarmProcess(FarmMember):
    """A scheduler or a worker; its log is `log`, its pages are at `url`."""

    def await_end(self, seconds: float) -> int | None:
        """Wait until it has ended, kill it if it has not after `seconds`; return its status."""
        if self._process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        status = self._process.poll()
        self.kill()
        return status

    def get(self, page: str) -> tuple[int, str]:
        """Return status and text of a page such as ``/readyz``; 0 if nobody listens."""
        return self.page(page)

    def await_page(
        self, page: str, *words: str, status: int = 200, seconds: float = READY_SECONDS
    ) -> str:
        """Wait until `page` has `status` and one of `words` in it (any text if there are none)."""
        deadline = time.monotonic() + seconds
        while True:
            found, text = self.get(page)
            if found == status and (not words or any(word in text for word in words)):
                return text
            said = f"{self.log.name}: {page} is {found} {text}\n" + self.log.read_text()[-2000:]
            assert self.running, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)


@dataclass
class RunningFarm:
    """The processes, and the variables that point clients (and more processes) at them."""

    environment: dict[str, str]
    folder: Path
    names: Names
    store: S3Store
    schedulers: list[FarmProcess] = field(default_factory=list)
    workers: dict[str, list[FarmProcess]] = field(default_factory=dict)

    @property
    def amqp_url(self) -> str:
        """URL of the broker."""
        return self.environment["TINYMLAAS_AMQP_URL"]

    def processes(self) -> list[FarmProcess]:
        """All of them."""
        return [*self.schedulers, *(each for pool in self.workers.values() for each in pool)]

    def scheduler(self, **variables: str) -> FarmProcess:
        """Start one more scheduler; not awaited."""
        name = f"scheduler-{len(self.schedulers)}"
        started = self._started(name, ["scheduler"], variables)
        self.schedulers.append(started)
        return started

    def worker(self, pool: str, **variables: str) -> FarmProcess:
        """Start one more worker of `pool`; not awaited."""
        peers = self.workers.setdefault(pool, [])
        name = f"{pool}-{len(peers)}"
        started = self._started(name, ["workers", "--pool", pool], variables)
        peers.append(started)
        return started

    def await_ready(self) -> None:
        """Wait until everything that runs is ready, and one of the schedulers is active."""
        for process in self.processes():
            if process.running:
                process.await_page("/readyz")
        deadline = time.monotonic() + READY_SECONDS
        while self.schedulers and not self._has_active():
            assert time.monotonic() < deadline, "no scheduler became active"
            time.sleep(0.05)

    def _has_active(self) -> bool:
        return any(each.get("/readyz")[1].startswith("active") for each in self.schedulers)

    def _started(
        self, name: str, arguments: list[str], variables: Mapping[str, str]
    ) -> FarmProcess:
        process = FarmProcess(name, arguments, {**self.environment, **variables}, self.folder)
        process.start()
        return process


@contextlib.contextmanager
def farm(
    folder: Path,
    pools: Sequence[str] = (),
    *,
    compilers: Sequence[Path] = (),
    workers: int = 1,
    schedulers: int = 1,
    prefix: str | None = None,
    **variables: str,
) -> Iterator[RunningFarm]:
    """Run `schedulers` schedulers, and `workers` workers of each of `pools` and of "prepare".

    `compilers` are folders of compilers from outside; `variables` are set for all processes. What
    still runs at the end is ended (SIGTERM, then SIGKILL), whatever the test has done to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [*dict.fromkeys([*pools, PREPARE_POOL])]
    names = Names(prefix if prefix is not None else f"t{secrets.token_hex(4)}.")
    environment = _environment(folder, names, wanted, compilers) | variables
    with _bucket(environment) as store, _queues(environment, names, wanted):
        started = RunningFarm(environment, folder, names, store)
        try:
            for _ in range(schedulers):
                started.scheduler()
            for pool in wanted:
                for _ in range(workers):
                    started.worker(pool)
            started.await_ready()
            adopt(Path(environment["TINYMLAAS_KEYS"]))  # as `farm up` does
            yield started
        finally:
            stop(started.processes())


def _environment(
    folder: Path, names: Names, pools: Sequence[str], compilers: Sequence[Path]
) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    return {
        **kept,
        **running.s3_variables(),
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
        "TINYMLAAS_AMQP_URL": running.amqp_url(),
        "TINYMLAAS_S3_BUCKET": f"farm-{secrets.token_hex(8)}",
        "TINYMLAAS_QUEUE_PREFIX": names.prefix,
        "TINYMLAAS_KEYS": str(folder / "keys"),
        "TINYMLAAS_POOLS": ",".join(pools),
        "TINYMLAAS_COMPILERS": os.pathsep.join(map(str, compilers)),
        # The stub keeps a journal beside its program and kills its worker, as none can inside.
        "TINYMLAAS_UNSAFE_NO_SANDBOX": "1" if compilers else "0",
    }


@contextlib.contextmanager
def _bucket(environment: Mapping[str, str]) -> Iterator[S3Store]:
    """Make the bucket; the store is opened with the variables that the servers get."""
    before = dict(os.environ)
    os.environ.update({k: v for k, v in environment.items() if k.startswith("AWS_")})
    try:
        bucket, endpoint = environment["TINYMLAAS_S3_BUCKET"], environment["TINYMLAAS_S3_ENDPOINT"]
        store = open_s3(bucket, endpoint=endpoint)
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        yield store
    finally:
        running.empty(store)
        store.client.delete_bucket(Bucket=store.bucket)


@contextlib.contextmanager
def _queues(environment: Mapping[str, str], names: Names, pools: Sequence[str]) -> Iterator[None]:
    try:
        yield
    finally:
        with connect(environment["TINYMLAAS_AMQP_URL"], "test") as connection:
            remove(connection, topology(pools, names))


def stop(processes: Sequence[FarmProcess]) -> None:
    """Ask all to end at once, then wait for each."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.await_end(STOP_SECONDS)
