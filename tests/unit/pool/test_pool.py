"""One worker: how tasks end in every way they can, and that nothing of them stays behind."""

from __future__ import annotations

import os
import re
import struct
import tempfile
import threading
import time
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest

from scheduler.candidates import Candidate, job_for
from storage import keys
from storage.directory import DirectoryStore
from tests.unit.models.builders import tiny_onnx
from tests.unit.scheduler.facts import BOARD, compiler, inspection, summary
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import StoreError
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.pool_messages import (
    PREPARE_POOL,
    BuildTask,
    InspectTask,
    ModelFile,
    PoolTask,
    RollCall,
    RollCalled,
    TaskEnd,
    TaskEnded,
    TaskKill,
    TaskKilled,
    TaskProgressed,
    TaskSent,
    TaskStatus,
    WorkerSeen,
)
from tinymlaas.contract.report import CandidateReport, CandidateStatus
from tinymlaas.contract.tensors import DType
from tinymlaas.contract.wire import MAX_TRUSTED_BYTES, MalformedMessage, parse
from workers import task_process
from workers.pool import Identity, Limits, PoolWorker
from workers.task_process import Opener, Watch

OPENER = "tests.unit.pool.benches:open_bench"


class Outbox:
    def __init__(self) -> None:
        self.ends: list[TaskEnd] = []
        self.mentioned: list[WorkerSeen | TaskProgressed] = []
        self.broken = False

    def tell(self, body: bytes) -> None:
        if self.broken:
            raise ConnectionError
        self.ends.append(parse(body, TaskEnded, MAX_TRUSTED_BYTES).data)

    def mention(self, body: bytes) -> None:
        kind = TaskProgressed if TaskProgressed.TYPE.encode() in body else WorkerSeen
        self.mentioned.append(parse(body, kind, MAX_TRUSTED_BYTES))


class Bench:
    """A worker with its store, and tasks for it."""

    def __init__(self, folder: Path, pool: str = "cc", **limits: object) -> None:
        self.store = DirectoryStore(folder)
        self.outbox = Outbox()
        identity = Identity(pool, f"{pool}-0", "s", compiler(pool) if pool == "cc" else None)
        opener = Opener(OPENER, str(folder))
        self.worker = PoolWorker(identity, opener, self.store, self.outbox, Limits(**limits))

    def do(self, behaviour: str, deliveries: int = 1, **changes: object) -> TaskEnd:
        return self.worker.handle(message(build_task(behaviour, **changes)), deliveries)


def build_task(behaviour: str, version: str = "1", **changes: object) -> PoolTask:
    candidate = Candidate(compiler("cc"), "generated")
    found = inspection(summary(Relu=DType.FLOAT32))
    job = job_for(candidate, found, name=behaviour, target=BOARD, shapes={}, service="s")
    work = BuildTask(job=job.model_copy(update={"compiler": behaviour}), version=version, build="b")
    whole = {"task_id": "1" * 32, "service": "s", "seconds": 60.0} | changes
    return PoolTask(action=job.action_digest, pool="cc", work=work, **whole)


def message(task: PoolTask) -> bytes:
    return TaskSent(id=task.task_id, source="test", data=task).encoded()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_refusal_is_an_outcome_and_is_kept(bench: Bench) -> None:
    end = bench.do("refuses")
    assert bench.outbox.ends == [end]
    assert end.status is TaskStatus.DONE
    assert end.outcome is not None
    assert end.outcome.report.reasons == ("not this one",)
    assert bench.store.head(keys.action_outcome("refuses", end.action)) is not None
    assert end.log is not None
    assert b"refuses says hello" in bench.store.get(keys.blob(end.log))
    assert bench.do("refuses", deliveries=9) == end, "a message that comes again changes nothing"
    again = bench.do("refuses", deliveries=9, task_id="2" * 32)
    assert again.cached, "what is stored is answered, however often it was delivered"


@pytest.mark.parametrize(
    ("behaviour", "status", "reason"),
    [
        ("crashes", TaskStatus.FAILED, "the task was killed by SIGKILL"),
        ("exits", TaskStatus.FAILED, "the task crashed: something is wrong"),
        ("later", TaskStatus.FAILED, "come again"),
    ],
)
def test_whatever_goes_wrong_is_told(
    bench: Bench, behaviour: str, status: TaskStatus, reason: str
) -> None:
    end = bench.do(behaviour)
    assert (end.status, end.reasons) == (status, (reason,))
    assert bench.store.head(keys.action_outcome(behaviour, end.action)) is None


def test_a_machine_that_cannot_run_a_task_says_so(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    end = bench.do("refuses")
    assert bench.outbox.ends == [end]
    assert end.status is TaskStatus.RETRY
    assert end.reasons == ("worker cc-0 cannot run it: No such file or directory",)
    monkeypatch.undo()
    assert bench.do("refuses", task_id="2" * 32).status is TaskStatus.DONE


def test_who_is_killed_in_the_middle_of_its_word_was_killed(tmp_path: Path) -> None:
    receiver, sender = Pipe(duplex=False)
    os.write(sender.fileno(), struct.pack("!i", 100) + b"ten of 100")
    sender.close()
    killed = SimpleNamespace(join=lambda seconds: None, exitcode=-9)
    watch = Watch(lambda what, tail: None, lambda: True, lambda: None)
    task = build_task("refuses")
    end = task_process._await(task, "cc-0", receiver, killed, tmp_path / "log", watch)
    assert (end.status, end.reasons) == (TaskStatus.FAILED, ("the task was killed by SIGKILL",))


def test_an_end_that_no_message_can_carry_is_a_failure(bench: Bench) -> None:
    end = bench.do("chatters")
    assert bench.outbox.ends == [end], "what the scheduler can read"
    assert end.status is TaskStatus.FAILED
    assert re.fullmatch(r"its result has 9,.* bytes; up to 8,388,608 can be told", end.reasons[0])


def test_a_store_that_is_away_is_worth_another_try(tmp_path: Path) -> None:
    end = Bench(tmp_path / "away").do("storeless")
    assert (end.status, end.reasons) == (TaskStatus.RETRY, ("the store is away",))


def test_time_is_limited_and_nothing_stays(
    bench: Bench,
) -> None:
    end = bench.do("refuses", seconds=1e-9)
    assert end.reasons == ("the task took longer than 1e-09 s and was stopped",)


def test_a_kill_ends_the_task_and_all_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    bench = Bench(tmp_path, heartbeat_seconds=0.2)
    task = build_task("sleeps")
    thread = threading.Thread(target=bench.worker.handle, args=(message(task),))
    thread.start()
    wait(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    wait(lambda: said(bench).count(task.action) >= 3)  # heartbeats while it runs
    kill = TaskKill(task_id=task.task_id, action=task.action)
    bench.worker.kill(TaskKilled(id="k", source="s", data=kill).encoded())
    thread.join(60)
    assert not thread.is_alive()
    (end,) = bench.outbox.ends
    assert end.status is TaskStatus.KILLED
    for pid in map(int, pids.read_text().split()):
        wait(lambda pid=pid: not alive(pid))
    assert said(bench)[-1] is None


def said(bench: Bench) -> list[str | None]:
    """What the worker's heartbeats said it does."""
    return [e.data.action for e in bench.outbox.mentioned if isinstance(e, WorkerSeen)]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait(true) -> None:
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("it did not come about")


def test_a_kill_may_come_first(bench: Bench) -> None:
    task = build_task("refuses")
    kill = TaskKill(task_id=task.task_id, action=task.action)
    bench.worker.kill(TaskKilled(id="k", source="s", data=kill).encoded())
    assert bench.worker.handle(message(task)).status is TaskStatus.KILLED
    again = task.model_copy(update={"task_id": "2" * 32})
    assert bench.worker.handle(message(again)).status is TaskStatus.DONE, "once only"


@pytest.mark.parametrize(("suspect", "deliveries"), [(False, 3), (True, 2)])
def test_a_task_that_was_delivered_too_often_is_given_back(
    bench: Bench, suspect: bool, deliveries: int
) -> None:
    end = bench.do("refuses", deliveries=deliveries, suspect=suspect)
    assert end.status is TaskStatus.SUSPECT
    assert end.reasons[0].startswith(f"it was delivered {deliveries - 1} times before")
    assert end.outcome is None


def test_a_roll_call_is_answered_at_once(bench: Bench) -> None:
    call = RollCalled(id="r", source="s", data=RollCall(pool="cc"))
    bench.worker.kill(call.encoded())
    assert said(bench) == [None]


@pytest.mark.parametrize("changes", [{"version": "2"}, {"service": "t"}])
def test_a_worker_of_another_version_does_not_answer(bench: Bench, changes: dict) -> None:
    assert bench.do("refuses", **changes).status is TaskStatus.STALE


def test_a_compiler_that_was_changed_since_builds_nothing_under_the_old_name(bench: Bench) -> None:
    end = bench.do("changed")
    assert end.status is TaskStatus.STALE, end.reasons
    assert "was changed" in end.reasons[0]
    assert bench.worker.outdated
    assert bench.store.head(keys.action_outcome("changed", end.action)) is None


def test_what_cannot_be_told_is_to_be_delivered_again(bench: Bench) -> None:
    bench.outbox.broken = True
    with pytest.raises(ConnectionError):
        bench.do("refuses")
    bench.outbox.broken = False
    end = bench.do("refuses", deliveries=2)
    assert bench.outbox.ends == [end]
    assert end.status is TaskStatus.DONE


def test_what_is_no_task_is_refused(bench: Bench) -> None:
    with pytest.raises(MalformedMessage):
        bench.worker.handle(b"{}")
    with pytest.raises(MalformedMessage):
        bench.worker.kill(b"[]")


def test_a_stored_outcome_without_its_module_does_not_count(bench: Bench) -> None:
    task = build_task("refuses")
    report = CandidateReport(
        compiler="refuses",
        kernels="k",
        status=CandidateStatus.VERIFIED,
        action_digest=task.action,
        module_digest="0" * 64,
    )
    lost = Outcome(report=report, archive_digest="0" * 64)
    place = keys.action_outcome("refuses", task.action)
    bench.store.put_if_absent(place, lost.model_dump_json().encode())
    assert not bench.worker.handle(message(task)).cached


def test_a_stored_module_that_another_key_signed_is_a_task_like_any_other(tmp_path: Path) -> None:
    """After a rotation it has to be signed anew, else nobody could verify it any more."""
    bench, task, archive = Bench(tmp_path), build_task("refuses"), b"archive"
    digest, ours = sha256(archive), "1" * 64
    report = CandidateReport(
        compiler="refuses",
        kernels="k",
        status=CandidateStatus.VERIFIED,
        action_digest=task.action,
        module_digest=digest,
    )
    built = Outcome(report=report, archive_digest=digest)
    place = keys.action_outcome("refuses", task.action)
    bench.store.put_if_absent(place, built.model_dump_json().encode())
    bench.store.put(keys.module_archive(digest), archive)
    bench.store.put_if_absent(keys.module_envelope(digest, "0" * 64), b"by the key before")
    identity = Identity("cc", "cc-1", "s", compiler("cc"))
    opener = Opener(OPENER, str(tmp_path))
    worker = PoolWorker(identity, opener, bench.store, Outbox(), signer=lambda: ours)
    assert worker._stored(task) is None
    bench.store.put_if_absent(keys.module_envelope(digest, ours), b"by ours")
    assert worker.handle(message(task)).cached


def test_a_model_is_inspected_or_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PREPARE_POOL)
    for number, (data, refused) in enumerate(((tiny_onnx(), False), (b"no model", True))):
        model = ModelFile(digest=sha256(data), filename="m")
        bench.store.put(keys.blob_of(data), data)
        task = PoolTask(
            task_id=f"{number}" * 32,
            action=model.digest,
            pool=PREPARE_POOL,
            service="s",
            seconds=100,
            work=InspectTask(model=model),
        )
        end = bench.worker.handle(message(task))
        assert (end.refused, end.inspection is None) == (refused, refused), end.reasons
    assert end.reasons[0].startswith("m: not an ONNX")
    stages = [e.data.stage for e in bench.outbox.mentioned if isinstance(e, TaskProgressed)]
    assert stages == ["starting", "inspecting"] * 2


def test_a_leaving_worker_says_so(bench: Bench) -> None:
    bench.worker.leave()
    (event,) = bench.outbox.mentioned
    assert isinstance(event, WorkerSeen)
    assert event.data.leaving


def test_who_gives_up_its_task_has_not_died_of_it(bench: Bench) -> None:
    bench.worker._task = build_task("refuses")
    bench.worker.leave()
    bench.worker.give_up()
    leaving = [e.data.leaving for e in bench.outbox.mentioned if isinstance(e, WorkerSeen)]
    assert leaving == [False, True]


def test_a_store_that_fails_before_the_task_is_begun(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(key: object) -> bytes:
        raise StoreError("away")

    monkeypatch.setattr(bench.store, "get", away)
    assert bench.do("refuses").status is TaskStatus.RETRY
