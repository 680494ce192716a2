"""How often who watches asks, by a clock of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tinymlaas.client import watching
from tinymlaas.client.lines import Heard
from tinymlaas.client.watching import Watch
from tinymlaas.contract.job_status import JobStatus
from tinymlaas.contract.messages import JobChanged, JobEnd, JobEnded, JobStanding, JobState

KEY = ("t", "j")


class Farm:
    """Access, lines and ear of one job in one; `silent` answers nothing, `events` come by time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[float] = []
        self.looked: list[float] = []
        self.record: JobEnded | None = None
        self.silent = False
        self.epoch = 1
        self.lines = self
        self.state: JobState | None = JobState.QUEUED
        self.compiled_from = float("inf")
        self.inbox: list[tuple[float, Heard]] = []

    def monotonic(self) -> float:
        return self.now

    @contextlib.contextmanager
    def hearing(self, key: tuple[str, str], *, events: bool) -> Iterator[Farm]:
        yield self

    def get(self, seconds: float) -> Heard | None:
        due = min((each for each in self.inbox), key=lambda each: each[0], default=None)
        if due is not None and due[0] <= self.now + seconds:
            self.inbox.remove(due)
            self.now = max(self.now, due[0])
            return due[1]
        self.now += max(0.0, seconds)
        return None

    def ask(self, key: tuple[str, str]) -> None:
        self.asked.append(self.now)
        if self.now >= self.compiled_from:
            self.state = JobState.COMPILING
        if not self.silent:
            self.say(self.now + 0.01, self.state, answer=True)

    def say(self, at: float, state: JobState | None, *, answer: bool = False, **more: Any) -> None:
        standing = JobStanding(tenant="t", job_id="j", state=state, **more)
        self.inbox.append((at, Heard(JobChanged(id="c", source="s", data=standing), answer)))

    def end(self, key: tuple[str, str]) -> JobEnded | None:
        self.looked.append(self.now)
        return self.record

    def ended(self, event: JobEnded) -> JobStatus:
        return JobStatus(job_id="j", tenant="t", status=event.data.state)


@pytest.fixture
def farm(monkeypatch: pytest.MonkeyPatch) -> Farm:
    made = Farm()
    monkeypatch.setattr(watching, "time", made)
    monkeypatch.setattr(watching.random, "uniform", lambda low, high: high)
    return made


def watch(farm: Farm, seconds: float) -> Iterator[JobStatus]:
    """Follow the job for so long."""
    with contextlib.suppress(watching.NotFinished):
        yield from Watch(farm, KEY, True, seconds).statuses()  # type: ignore[arg-type]


def test_while_it_is_answered_it_asks_less_and_less_often(farm: Farm) -> None:
    list(watch(farm, 1200.0))
    pauses = [b - a for a, b in pairwise(farm.asked)]
    assert pauses[0] <= 5.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(180.0)
    assert len(farm.asked) < 15
    assert len(farm.looked) <= 2, "the store is not asked again and again"


def test_progress_is_no_reason_to_ask_but_another_state_is(farm: Farm) -> None:
    begun = farm.now
    farm.compiled_from = begun + 200
    for second in range(10, 300):
        state = JobState.QUEUED if second < 200 else JobState.COMPILING
        farm.say(begun + second, state, percent=second % 100)
    list(watch(farm, 299.0))
    assert any(200 <= each - begun <= 206 for each in farm.asked)
    assert len(farm.asked) < 12


def test_who_is_not_answered_asks_again_soon_and_looks_at_the_store(farm: Farm) -> None:
    begun = farm.now
    farm.silent = True
    said = [status.waits_for for status in watch(farm, 40.0)]
    pauses = [b - a for a, b in pairwise(farm.asked)]
    assert max(pauses) <= 5.0
    assert ("a scheduler: none answers now",) in said
    assert len(farm.looked) >= 7
    assert farm.now - begun >= 40.0


def test_an_answer_that_knows_no_job_has_the_record_looked_for(farm: Farm) -> None:
    found: list[JobStatus] = []
    for status in watch(farm, 300.0):
        found.append(status)
        if status.status is JobState.QUEUED and farm.record is None:
            end = JobEnd(tenant="t", job_id="j", state=JobState.DONE)
            farm.record, farm.state = JobEnded(id="e", source="s", data=end), None
    assert found[-1].status is JobState.DONE
    assert farm.now < 240.0


def test_after_another_connection_it_asks_and_looks_at_once(farm: Farm) -> None:
    begun, seen = farm.now, 0
    farm.say(begun + 100.0, JobState.QUEUED, line="x")
    for status in watch(farm, 150.0):
        seen += status.line == "x"
        if status.line == "x":
            farm.epoch += 1
    assert seen
    assert any(100 <= each - begun <= 101 for each in farm.asked)
    assert any(100 <= each - begun <= 101 for each in farm.looked)
