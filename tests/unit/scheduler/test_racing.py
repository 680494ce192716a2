"""A race on a laptop whose candidates are stored, but are to be judged by labelled samples."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from scheduler.candidates import Making, jobs_of
from storage import keys
from storage.memory import MemoryStore
from tests.unit.scheduler.facts import BOARD, compiler, inspection, summary
from tests.unit.scheduler.test_choice import report
from tinymlaas import racing
from tinymlaas.contract.digest import digest_of, sha256
from tinymlaas.contract.errors import Failure
from tinymlaas.contract.jobs import CandidateJob, Outcome
from tinymlaas.contract.progress import Silent
from tinymlaas.contract.report import CandidateReport, CandidateStatus, Objective
from tinymlaas.contract.tensors import DType
from tinymlaas.inputs import Form
from workers import accuracy
from workers.build import Workbench

DATA = b"labelled"
NAMES = ("aa", "bb", "cc", "dd")
SKIPPED, VERIFIED = CandidateStatus.SKIPPED, CandidateStatus.VERIFIED


class Race:
    """Four candidates that are stored. Judging takes as long as the race goes on, but `quick`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quick: int) -> None:
        self.store = MemoryStore()
        self.quick = quick
        self.judged: list[str] = []
        self.over, self.guard = threading.Event(), threading.Lock()
        facts = inspection(summary(Relu=DType.FLOAT32))
        found = jobs_of(facts, [compiler(name) for name in NAMES], Making(BOARD), lambda _: "s")
        self.jobs = [job for job in found if isinstance(job, CandidateJob)]
        for job in self.jobs:
            module = job.compiler.encode()
            named = {"action_digest": job.action_digest, "module_digest": sha256(module)}
            stored = report(VERIFIED, 9, 9, 9, job.compiler).model_copy(update=named)
            outcome = Outcome(report=stored, archive_digest=sha256(module))
            self.store.put(keys.module_archive(sha256(module)), module)
            self._put(
                keys.action_outcome(job.compiler, job.action_digest), outcome.model_dump_json()
            )
        self.bench = Workbench(cast(Any, None), self.store, cast(Any, None), tmp_path, Silent())
        monkeypatch.setattr(accuracy, "accuracy_of", self.judge)
        monkeypatch.setattr(racing.guardian.Scope, "kill_all", lambda _: self.over.set())

    def _put(self, key: keys.Key, text: str) -> None:
        assert self.store.put_if_absent(key, text.encode())

    def know(self, name: str) -> None:
        """Have the store know how often a module is right."""
        facts = {"module": sha256(name.encode()), "data": sha256(DATA), "service": "s"}
        found = accuracy.Accuracy(module=facts["module"], data=facts["data"], samples=1, accuracy=1)
        self._put(keys.accuracy(self.bench.pool, digest_of(facts)), found.model_dump_json())

    def judge(
        self, module: str, data: bytes, _: str, store: MemoryStore, __: Path, *who: str
    ) -> accuracy.Accuracy:
        known = accuracy.known_accuracy(module, data, store, *who)
        if known is not None:
            return known
        with self.guard:
            self.judged.append(module)
            slow = len(self.judged) > self.quick
        if slow:
            assert self.over.wait(20), "the race waits for what it need not wait for"
            raise Failure("killed")
        return accuracy.Accuracy(module=module, data=sha256(data), samples=1, accuracy=0.9)

    def run(self, **hurry: Any) -> list[CandidateReport]:
        labelled = racing.Labelled("data.npz", DATA)
        rules = racing.Rules(Objective.LATENCY, labelled=labelled, **hurry)
        steps = [racing.Step(Form(Path("m.onnx")), job) for job in self.jobs]
        return [outcome.report for outcome in racing.run(steps, rules, self.bench, "s")]


def test_how_often_another_pool_found_a_module_right_is_not_believed() -> None:
    store, found = MemoryStore(), accuracy.Accuracy(module="m", data="d", samples=1, accuracy=1)
    digest = digest_of({"module": "m", "data": sha256(DATA), "service": "s"})
    store.put_if_absent(keys.accuracy("tflm", digest), found.model_dump_json().encode())
    assert accuracy.known_accuracy("m", DATA, store, "s", "tvm") is None
    assert accuracy.known_accuracy("m", DATA, store, "s", "tflm") == found


def test_the_first_stored_one_that_is_judged_ends_the_race(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    race = Race(monkeypatch, tmp_path, quick=1)
    reports = race.run(first=True)
    assert sorted(each.status for each in reports) == [SKIPPED] * 3 + [VERIFIED]
    assert [each.accuracy for each in reports if each.status is VERIFIED] == [0.9]
    assert len(race.judged) < len(NAMES)


def test_judging_what_is_stored_takes_of_the_budget(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    race = Race(monkeypatch, tmp_path, quick=0)
    race.know("cc")
    reports = dict(zip(NAMES, race.run(budget=0.2), strict=True))
    assert reports.pop("cc").accuracy == 1.0, "it takes none"
    assert {each.reasons[0].partition(" within")[2] for each in reports.values()} == {
        " the budget of 0.2 s"
    }
    assert [each.status for each in reports.values()] == [SKIPPED] * 3


def test_where_one_is_known_to_be_right_nothing_is_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    race = Race(monkeypatch, tmp_path, quick=0)
    race.know("dd")
    reports = race.run(first=True)
    assert [each.status for each in reports] == [SKIPPED] * 3 + [VERIFIED]
    assert race.judged == []
