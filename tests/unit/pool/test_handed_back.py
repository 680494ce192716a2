"""What a task's process says is held against the task: it may have been taken over."""

from __future__ import annotations

from typing import Any

import pytest

from storage import keys
from storage.memory import MemoryStore
from tests.unit.pool.test_pool import build_task
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import StoreError
from tinymlaas.contract.jobs import Inspection, Outcome
from tinymlaas.contract.pool_messages import PoolTask, TaskEnd, TaskStatus
from tinymlaas.contract.report import CandidateReport, CandidateStatus
from workers.handed_back import checked

ZIP = b"archive"
TASK = build_task("cc")
WORKER = "cc@here"


def outcome(**changes: Any) -> Outcome:
    named: dict[str, Any] = {
        "compiler": "cc",
        "kernels": "k",
        "status": CandidateStatus.BUILT,
        "action_digest": TASK.action,
        "module_digest": sha256(ZIP),
    }
    digest = changes.pop("archive_digest", sha256(ZIP))
    return Outcome(report=CandidateReport(**{**named, **changes}), archive_digest=digest)


def end(task: PoolTask = TASK, **changes: Any) -> TaskEnd:
    named: dict[str, Any] = {
        "task_id": task.task_id,
        "action": task.action,
        "pool": task.pool,
        "worker": WORKER,
        "status": TaskStatus.DONE,
        "outcome": outcome(),
    }
    return TaskEnd(**{**named, **changes})


def store() -> MemoryStore:
    made = MemoryStore()
    made.put(keys.module_archive(sha256(ZIP)), ZIP)
    return made


def test_what_was_asked_passes() -> None:
    assert checked(end(), TASK, WORKER, store()) == end()
    refused = outcome(status=CandidateStatus.REJECTED, module_digest=None, archive_digest=None)
    assert checked(end(outcome=refused), TASK, WORKER, store()) == end(outcome=refused)
    broken = end(status=TaskStatus.FAILED, reasons=("no",), outcome=None)
    assert checked(broken, TASK, WORKER, store()) == broken


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task_id": "f" * 32}, "another task"),
        ({"action": "f" * 64}, "another task"),
        ({"pool": "tvm"}, "another task"),
        ({"worker": "else@where"}, "another task"),
        ({"outcome": outcome(action_digest="f" * 64)}, "another action"),
        ({"outcome": outcome(compiler="tvm")}, "another action"),
        ({"outcome": outcome(module_digest="f" * 64)}, "another action"),
        ({"outcome": outcome(module_digest="f" * 64, archive_digest="f" * 64)}, "not what its"),
        ({"accuracy": 1.0}, "another kind"),
        (
            {"inspection": Inspection.model_construct(source_digest="0" * 64), "outcome": None},
            "another kind",
        ),
    ],
)
def test_all_else_is_a_failure_of_this_task(changes: dict[str, Any], reason: str) -> None:
    said = end().model_copy(update=changes)
    found = checked(said, TASK, WORKER, store())
    assert found.status is TaskStatus.FAILED
    assert reason in found.reasons[0]
    assert (found.outcome, found.accuracy, found.inspection) == (None, None, None)
    own = (TASK.task_id, TASK.action, TASK.pool, WORKER)
    assert (found.task_id, found.action, found.pool, found.worker) == own


def test_a_module_that_was_changed_on_its_way_is_noticed() -> None:
    made = store()
    made._objects[keys.module_archive(sha256(ZIP))] = b"another"
    assert "not what its digest" in checked(end(), TASK, WORKER, made).reasons[0]


def test_a_store_that_is_away_proves_nothing() -> None:
    class Away(MemoryStore):
        def get(self, key: keys.Key) -> bytes:
            raise StoreError("away")

    assert checked(end(), TASK, WORKER, Away()).status is TaskStatus.RETRY
