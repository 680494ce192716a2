"""What a pool's task asks, done: inspect, quantise, build or judge, its outcome in the store."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from storage import keys
from storage.keys import Key
from storage.port import ObjectDamaged, ObjectInfo, ObjectNotFound, ObjectStore
from tinymlaas.contract.errors import Rejection, StoreError, TinymlaasError, UnsupportedModel
from tinymlaas.contract.jobs import Inspection
from tinymlaas.contract.pool_messages import (
    BuildTask,
    InspectTask,
    JudgeTask,
    ModelFile,
    PoolTask,
    QuantiseTask,
    TaskEnd,
    TaskStatus,
)
from tinymlaas.contract.report import CandidateStatus
from workers.build import OtherCompiler, Workbench, build, module_of
from workers.inspecting import ModelSource, inspect_stored


@dataclass
class WatchedStore:
    """An `ObjectStore` that notes whether the store itself has failed: then we try again."""

    inner: ObjectStore
    failed: bool = False

    def put(self, key: Key, data: bytes) -> None:
        """See `ObjectStore.put`."""
        with _noting(self):
            self.inner.put(key, data)

    def put_if_absent(self, key: Key, data: bytes) -> bool:
        """See `ObjectStore.put_if_absent`."""
        with _noting(self):
            return self.inner.put_if_absent(key, data)

    def get(self, key: Key) -> bytes:
        """See `ObjectStore.get`."""
        with _noting(self):
            return self.inner.get(key)

    def head(self, key: Key) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        with _noting(self):
            return self.inner.head(key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        with _noting(self):
            return self.inner.list(prefix)

    def delete(self, key: Key) -> bool:
        """See `ObjectStore.delete`."""
        with _noting(self):
            return self.inner.delete(key)


class _noting:
    """Note a failure of the store, but not that it lacks something."""

    def __init__(self, store: WatchedStore) -> None:
        self._store = store

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        gone = isinstance(error, ObjectNotFound | ObjectDamaged)
        if isinstance(error, StoreError) and not gone:
            self._store.failed = True


def perform(task: PoolTask, worker: str, bench: Workbench) -> TaskEnd:
    """Do `task` and return how it ended: faults of the input or of ours are no exceptions."""
    watched = WatchedStore(bench.store)
    bench = replace(bench, store=watched)
    end = TaskEnd(
        task_id=task.task_id,
        action=task.action,
        pool=task.pool,
        worker=worker,
        status=TaskStatus.DONE,
    )
    try:
        facts = _facts(task, bench)
    except Rejection as error:
        lacks = isinstance(error, UnsupportedModel)
        facts = {"refused": True, "unsupported": lacks, "reasons": error.reasons}
    except OtherCompiler as error:
        facts = {"status": TaskStatus.STALE, "reasons": error.reasons}
    except TinymlaasError as error:
        again = error.retryable or watched.failed
        status = TaskStatus.RETRY if again else TaskStatus.FAILED
        facts = {"status": status, "reasons": error.reasons}
    except OSError as error:  # a full disk, say
        facts = {"status": TaskStatus.FAILED, "reasons": (error.strerror or str(error),)}
    if facts.get("status") is TaskStatus.FAILED and watched.failed:
        facts["status"] = TaskStatus.RETRY
    return end.model_copy(update=facts)


def _facts(task: PoolTask, bench: Workbench) -> dict[str, object]:
    match task.work:
        case InspectTask() as work:
            return {"inspection": _inspect(work, task.service, bench)}
        case QuantiseTask() as work:
            return {"quantisation": _quantise(work, task.seconds, bench)}
        case BuildTask() as work:
            return _build(work, bench)
        case JudgeTask() as work:
            return {"accuracy": _judge(work, task.service, bench)}


def _build(work: BuildTask, bench: Workbench) -> dict[str, object]:
    bench = replace(bench, sign_first=True)  # others find the outcome as soon as it is stored
    outcome = build(work.job, bench, (work.version, work.build))
    report = outcome.report
    if outcome.archive_digest is not None and report.cached:
        module_of(outcome, work.job, bench)  # signed by another key perhaps: now by ours too
    broke = report.status is CandidateStatus.FAILED
    return {
        "status": TaskStatus.FAILED if broke else TaskStatus.DONE,
        "reasons": report.reasons if broke else (),
        "outcome": outcome,
        "cached": report.cached,
    }


def _inspect(work: InspectTask, service: str, bench: Workbench) -> Inspection:
    store = bench.store
    model = ModelSource(
        work.model.digest, work.model.filename, functools.partial(_read, work.model, store)
    )
    return inspect_stored(model, work.shapes, service, store, bench.progress)


def _quantise(work: QuantiseTask, seconds: float, bench: Workbench) -> object:
    from workers.quantise.stage import Request, quantise_stored

    request = Request(
        _read(work.model, bench.store),
        work.model.filename,
        _read(work.samples, bench.store),
        work.samples.filename,
        work.activations,
        work.shapes,
    )
    return quantise_stored(request, bench.store, seconds, bench.progress)


def _judge(work: JudgeTask, service: str, bench: Workbench) -> float:
    from workers.accuracy import accuracy_of

    bench.progress.stage(work.module[:12], "running labelled samples")
    found = accuracy_of(
        work.module,
        _read(work.samples, bench.store),
        work.samples.filename,
        bench.store,
        bench.toolchain_cache,
        service,
        bench.pool,
    )
    return found.accuracy


def _read(file: ModelFile, store: ObjectStore) -> bytes:
    return store.get(keys.blob(file.digest))
