"""Scheduler and workers as on a farm, with a broker in memory: a model in, a signed module out."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from scheduler.admission import Policy
from scheduler.core import Core
from scheduler.in_memory import (
    JoinedSources,
    MemoryPools,
    MemoryPublisher,
    MemorySource,
    SystemClock,
)
from scheduler.library import StoreLibrary
from scheduler.service import Ports, Role, Service
from storage import keys
from storage.archive import read_archive
from storage.verify import trusted_key, verify_module
from tests.integration.cli.models import small_onnx
from tests.integration.pool.benches import open_bench
from tinymlaas.boards import catalog
from tinymlaas.contract.messages import CompileOrder, CompileRequested, JobEnded, JobState, Payload
from tinymlaas.contract.pool_messages import PREPARE_POOL
from tinymlaas.contract.wire import parse
from workers.pool import Identity, PoolWorker
from workers.task_process import Opener

SERVICE = "test"
ROLES = {"requests": Role.REQUESTS, "pool": Role.WORKERS, "control": Role.CONTROL}


class Outbox:
    def __init__(self, source: MemorySource) -> None:
        self.tell = self.mention = source.put


class Farm:
    def __init__(self, folder: Path) -> None:
        self.bench = open_bench(str(folder))
        self.requests, self.pool_events = MemorySource("requests"), MemorySource("pool")
        self.pools, self.events = MemoryPools(), MemoryPublisher()
        clock = SystemClock()
        self.core = Core(Policy(), clock, catalog.get, ["handmade", PREPARE_POOL])
        library = StoreLibrary(self.bench.store)
        control = MemorySource("control")
        ports = Ports(
            JoinedSources(self.requests, self.pool_events, control),
            ROLES,
            self.pools,
            self.events,
            library,
            clock,
        )
        self.service = Service(self.core, ports, SERVICE)
        opener = Opener("tests.integration.pool.benches:open_bench", str(folder))
        described = self.bench.compilers.get("handmade").describe()
        self.workers = [
            PoolWorker(identity, opener, self.bench.store, Outbox(self.pool_events))
            for identity in (
                Identity("handmade", "handmade-0", SERVICE, described),
                Identity(PREPARE_POOL, "prepare-0", SERVICE),
            )
        ]
        self.stopping = False

    def work(self, worker: PoolWorker, pool: str) -> None:
        worker.hello()
        while not self.stopping:
            tasks = self.pools.tasks.get(pool)
            if tasks:
                worker.handle(tasks.popleft())
            else:
                time.sleep(0.005)

    def ends(self) -> list[JobEnded]:
        bodies = [body for _, body in self.events.published if b"job.result.v1" in body]
        return [parse(body, JobEnded) for body in bodies]


@pytest.fixture
def farm(tmp_path: Path):
    farm = Farm(tmp_path)
    names = ("handmade", PREPARE_POOL)
    threads = [threading.Thread(target=farm.service.run)]
    threads += [
        threading.Thread(target=farm.work, args=(worker, name))
        for worker, name in zip(farm.workers, names, strict=True)
    ]
    for thread in threads:
        thread.start()
    yield farm
    farm.stopping = True
    farm.service.stop()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def submit(farm: Farm, job: str, model: bytes, board: str = "host", **changes: object) -> None:
    order = CompileOrder(
        tenant="a", model=Payload.of(model, "a"), board=board, name="small", **changes
    )
    farm.requests.put(CompileRequested(id=job, source="test", data=order).encoded())


def test_a_model_goes_in_and_a_signed_module_comes_out(farm: Farm) -> None:
    model = bytes(small_onnx().SerializeToString())
    for job in ("1", "2", "3"):
        submit(farm, job, model)
    submit(farm, "bad", b"this is no model")
    submit(farm, "other", model, board="arduino-uno-rev3-of-another-world")
    for _ in range(6000):
        if len(farm.ends()) == 5:
            break
        time.sleep(0.01)
    ends = {event.data.job_id: event.data for event in farm.ends()}
    reasons = {job: end.reasons for job, end in ends.items()}
    assert {job: end.state for job, end in ends.items()} == {
        "1": JobState.DONE,
        "2": JobState.DONE,
        "3": JobState.DONE,
        "bad": JobState.REJECTED,
        "other": JobState.REJECTED,
    }, reasons
    assert farm.core.events["done"] == 2 + 1, "two inspections, one build"
    result = ends["1"].result
    assert result is not None
    assert result.chosen is not None
    digest = result.candidates[result.chosen].module_digest
    assert digest is not None
    assert result.module == keys.given("a", keys.module_archive(digest)).path
    key = farm.bench.signer.public_key
    archive = farm.bench.store.get(keys.module_archive(digest))
    envelope = farm.bench.store.get(keys.module_envelope(digest, key.fingerprint))
    verify_module(archive, envelope, [trusted_key(key.pem)])
    assert read_archive(archive).manifest.verification is not None
    assert not len(farm.requests)
