"""One worker of a pool, one hostile task after the other: it lives, and each task after is done."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import keys
from storage.directory import DirectoryStore
from tests.security.hostile import NEEDLE
from tests.security.tasks import inspected, job
from tests.security.yard import HURRY, LIMITS, Yard, opened
from tinymlaas.contract.pool_messages import BuildTask, PoolTask, TaskEnd, TaskSent, TaskStatus
from workers import sandbox
from workers.pool import Identity, Limits, PoolWorker
from workers.sandbox.limits import parse
from workers.task_process import Opener

# Each would harm the worker, its tasks' processes or what they hold, if anything got out.
HARMFUL = {
    "environment": "contained",
    "environments": "contained",
    "memory_of_others": "contained",
    "descriptors": "contained",
    "store": "contained",
    "write_store": "contained",
    "tcp": "contained",
    "kill_init": "contained",
    "kill_the_worker": "contained",
    "trace_parent": "contained",
    "daemon": "contained",
    "kill_all": "was killed by SIGKILL",
    "signal_every_process": "was killed by SIGTERM",
    "kill_the_parent": "was killed by SIGKILL",
    "stop_the_parent": "took longer than 2 s",
    "fork_bomb": "processes and was stopped",
    "memory_of_many": "of memory and was stopped",
    "output_is_a_symlink": "is a symbolic link",
    "claims_another_action": "Extra inputs are not permitted",
}


DAILY = {"environment", "store", "kill_all", "fork_bomb", "daemon", "claims_another_action"}


class Outbox:
    def tell(self, body: bytes) -> None: ...

    def mention(self, body: bytes) -> None: ...


class Pool:
    """A worker, its store, and what is planted around them: the store is where attacks look."""

    def __init__(self, yard: Yard, folder: Path) -> None:
        self.yard = yard
        self.store = DirectoryStore(folder / "bucket")
        model, inspection = inspected()
        self.store.put(keys.blob(inspection.static_digest), model)
        self.described = yard.compiler.describe()
        identity = Identity("hostile", "hostile-0", "s", self.described)
        opener = Opener("tests.security.benches:open_bench", str(folder))
        self.worker = PoolWorker(identity, opener, self.store, Outbox(), Limits())

    def do(self, does: str) -> TaskEnd:
        limits = HURRY if does == "stop_the_parent" else LIMITS
        sandbox.configure(sandbox.Settings(limits=parse(limits)))
        work = BuildTask(
            job=job(does, self.described, name=f"n{uuid.uuid4().hex[:12]}"),
            version=self.described.version,
            build=self.described.build,
        )
        task = PoolTask(
            task_id=uuid.uuid4().hex,
            service="s",
            seconds=60.0,
            action=work.job.action_digest,
            pool="hostile",
            work=work,
        )
        return self.worker.handle(TaskSent(id=task.task_id, source="t", data=task).encoded(), 1)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp("pool")
    with opened(folder) as yard:
        yield Pool(yard, folder)


@pytest.mark.parametrize(
    "does",
    [pytest.param(each, marks=[] if each in DAILY else pytest.mark.slow) for each in HARMFUL],
)
def test_the_worker_goes_on_to_the_next_task(pool: Pool, does: str) -> None:
    end = pool.do(does)
    assert end.status is TaskStatus.FAILED
    reason = "; ".join(end.reasons)
    assert any(words in reason for words in HARMFUL[does].split("|")), reason
    assert "ESCAPED" not in reason
    assert NEEDLE not in end.model_dump_json()
    log = pool.store.get(keys.blob(end.log)) if end.log else b""
    assert NEEDLE.encode() not in log
    after = pool.do("work")
    assert (after.status, after.reasons) == (TaskStatus.DONE, ())
    assert after.outcome is not None
    assert after.outcome.archive_digest is not None
    assert pool.yard.harm() == []
