"""What outlives schedulers, in memory, and workers that do as they are told at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
from storage.keys import Key
from storage.memory import MemoryStore
from tests.unit.scheduler.facts import compiler
from tests.unit.scheduler.world import MODEL, SERVICE, board, built
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import StoreError
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.messages import JobEnded, JobState
from tinymlaas.contract.pool_messages import (
    PREPARE_POOL,
    BuildTask,
    JudgeTask,
    TaskEnd,
    TaskEnded,
    TaskSent,
    TaskStatus,
    WorkerSeen,
    WorkerStanding,
)
from tinymlaas.contract.wire import MAX_TRUSTED_BYTES, parse

ROLES = {"requests": Role.REQUESTS, "pool": Role.WORKERS, "control": Role.CONTROL}


class FlakyStore(MemoryStore):
    """A store that can be switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    def get(self, key: Key) -> bytes:
        if self.away:
            raise StoreError("away")
        return super().get(key)

    def put_if_absent(self, key: Key, data: bytes) -> bool:
        if self.away:
            raise StoreError("away")
        return super().put_if_absent(key, data)


MODULE = b"zip"


def of_module(outcome: Outcome) -> Outcome:
    """Return `outcome` with the module that the store has."""
    report = outcome.report.model_copy(update={"module_digest": sha256(MODULE)})
    return Outcome(report=report, archive_digest=sha256(MODULE))


class Farm:
    """What outlives a scheduler, and workers that do as they are told at once."""

    def __init__(self) -> None:
        self.store = FlakyStore()
        self.requests, self.pool = MemorySource("requests"), MemorySource("pool")
        self.control = MemorySource("control")
        self.pools, self.events = MemoryPools(), MemoryPublisher(("reply.me",))
        self.built: list[str] = []
        self.judged: list[str] = []

    def ports(self) -> Ports:
        library = StoreLibrary(self.store)
        return Ports(
            JoinedSources(self.requests, self.pool, self.control),
            ROLES,
            self.pools,
            self.events,
            library,
            SystemClock(),
            library.remembered(),
        )

    def hello(self) -> None:
        for pool in ("cc", PREPARE_POOL):
            described = compiler(pool) if pool == "cc" else None
            standing = WorkerStanding(
                pool=pool, worker=f"{pool}-0", service=SERVICE, description=described
            )
            self.pool.put(WorkerSeen(id="h", source="w", data=standing).encoded())

    def work(self) -> None:
        """Do all tasks there are, as workers would."""
        for tasks in list(self.pools.tasks.values()):
            while tasks:
                task = parse(tasks.popleft(), TaskSent, MAX_TRUSTED_BYTES).data
                end = {"status": TaskStatus.DONE, "worker": f"{task.pool}-0"}
                if isinstance(task.work, JudgeTask):
                    self.judged.append(task.action)
                    end["accuracy"] = 0.95
                elif isinstance(task.work, BuildTask):
                    outcome = of_module(built(task))
                    self.store.put(keys.module_archive(sha256(MODULE)), MODULE)
                    key = keys.action_outcome(task.pool, task.action)
                    assert self.store.put_if_absent(key, outcome.model_dump_json().encode())
                    self.built.append(task.action)
                    end["outcome"] = outcome
                else:
                    digest = task.work.model.digest
                    end["inspection"] = MODEL.model_copy(update={"source_digest": digest})
                data = TaskEnd(task_id=task.task_id, action=task.action, pool=task.pool, **end)
                self.pool.put(TaskEnded(id=task.task_id, source="w", data=data).encoded())

    def ends(self) -> dict[str, JobState]:
        published = [body for _, body in self.events.published if b"job.result.v1" in body]
        found = [parse(body, JobEnded) for body in published]
        assert len({e.id for e in found}) == len({e.data.job_id for e in found})
        return {event.data.job_id: event.data.state for event in found}

    def until(self, true: Callable[[], bool], work: bool = True) -> None:
        for _ in range(6000):
            if true():
                return
            if work:
                self.work()
            time.sleep(0.01)
        pytest.fail("it did not come about")


@contextmanager
def scheduler(farm: Farm) -> Iterator[Core]:
    clock = SystemClock()
    core = Core(Policy(settle_seconds=0.1), clock, board, ["cc", PREPARE_POOL], SERVICE)
    service = Service(core, farm.ports(), SERVICE)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield core
    finally:
        service.stop()
        thread.join(20)
        assert not thread.is_alive()
