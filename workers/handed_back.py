"""What a task's own process hands back, held against what it was asked before anybody is told."""

from __future__ import annotations

from storage import keys
from storage.port import ObjectDamaged, ObjectNotFound, ObjectStore
from tinymlaas.contract.errors import StoreError
from tinymlaas.contract.pool_messages import (
    BuildTask,
    InspectTask,
    JudgeTask,
    PoolTask,
    QuantiseTask,
    TaskEnd,
    TaskStatus,
)

# What each kind of task may say of its result.
_RESULTS = {
    BuildTask: "outcome",
    InspectTask: "inspection",
    QuantiseTask: "quantisation",
    JudgeTask: "accuracy",
}


def checked(end: TaskEnd, task: PoolTask, worker: str, store: ObjectStore) -> TaskEnd:
    """Return `end` if it is of `task` and no other, else a failure that says what it is not.

    A module's archive is read: it must be there, and be what its digest says.
    """
    try:
        wrong = _wrong(end, task, worker, store)
    except StoreError as error:  # the store is away: nothing is known against it
        facts = {"status": TaskStatus.RETRY, "reasons": error.reasons, "outcome": None}
        return end.model_copy(update=facts)
    if wrong is None:
        return end
    return TaskEnd(
        task_id=task.task_id,
        action=task.action,
        pool=task.pool,
        worker=worker,
        status=TaskStatus.FAILED,
        reasons=(f"the task's process gave {wrong}",),
        seconds=end.seconds,
    )


def _wrong(end: TaskEnd, task: PoolTask, worker: str, store: ObjectStore) -> str | None:
    said = (end.task_id, end.action, end.pool, end.worker)
    if said != (task.task_id, task.action, task.pool, worker):
        return "the end of another task"
    given = {name for name in _RESULTS.values() if getattr(end, name) is not None}
    if given - {_RESULTS[type(task.work)]}:
        return "a result of another kind than was asked"
    if end.outcome is None or not isinstance(task.work, BuildTask):
        return None
    if not end.outcome.answers(task.work.job.compiler, task.action):
        return "the outcome of another action, compiler or module"
    archive = end.outcome.archive_digest
    try:
        if archive is not None:
            store.get(keys.module_archive(archive))
    except (ObjectNotFound, ObjectDamaged):
        return "an outcome whose module is not what its digest says"
    return None
