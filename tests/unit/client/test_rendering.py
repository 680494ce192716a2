"""What a person reads of jobs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tinymlaas import render_jobs, words
from tinymlaas.cli_options import Output
from tinymlaas.cli_watch import _share, shown
from tinymlaas.contract.job_status import JobStatus, status_of_end, status_of_standing
from tinymlaas.contract.messages import JobEnd, JobStanding, JobState
from tinymlaas.contract.queue_messages import PoolQueue, QueueReport, TenantQueue
from tinymlaas.contract.report import CompileResult, ResultStatus

QUEUED = JobStatus(job_id="j", tenant="t", status=JobState.QUEUED)
WAITS = QUEUED.model_copy(
    update={
        "status": JobState.COMPILING,
        "position": 3,
        "waits_for": ("pool tvm, whose worker is busy; 3 jobs of the tenant before it",),
        "estimate_seconds": 130.0,
    }
)
RUNS = QUEUED.model_copy(
    update={
        "status": JobState.COMPILING,
        "pool": "tvm",
        "stage": "compiling",
        "percent": 5,
        "line": "[1/3] cc",
    }
)


@pytest.mark.parametrize(
    ("value", "said"), [(0.4, "0 s"), (119.0, "119 s"), (120.0, "2 min"), (7200.0, "2 hours")]
)
def test_durations_are_told_in_their_unit(value: float, said: str) -> None:
    assert words.seconds(value) == said


def test_a_change_is_a_line() -> None:
    assert render_jobs.change(QUEUED) == "queued"
    assert render_jobs.change(WAITS) == (
        "compiling: waits for pool tvm, whose worker is busy; 3 jobs of the tenant before it; "
        "about 2 min left"
    )
    assert render_jobs.change(RUNS) == "compiling: tvm: compiling 5%: [1/3] cc"
    one = {"candidate": "tvm latency int8", "candidates_done": 0, "candidates_total": 1}
    several = RUNS.model_copy(update=one | {"candidates_done": 2, "candidates_total": 5})
    assert render_jobs.change(RUNS.model_copy(update=one)) == (
        "compiling: tvm latency int8: compiling 5%: [1/3] cc"
    )
    assert render_jobs.change(several) == (
        "compiling, 2 of 5 done: tvm latency int8: compiling 5%: [1/3] cc"
    )
    assert [_share(each) for each in (QUEUED, RUNS, several)] == [(0, None), (5, 100), (2, 5)]
    lines = list(render_jobs.standing(several))
    assert "candidates  2 of 5 done" in lines
    assert "stage       tvm latency int8: compiling 5%" in lines


def test_a_standing_says_why_it_waits() -> None:
    lines = list(render_jobs.standing(WAITS))
    assert lines[:3] == ["job         j", "tenant      t", "status      compiling"]
    assert "position    3" in lines
    assert "estimate    about 2 min (from the last builds)" in lines


def test_without_a_terminal_each_change_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    done = QUEUED.model_copy(update={"status": JobState.DONE})
    told = [QUEUED, QUEUED, WAITS, RUNS, RUNS, done]
    output = Output(Console(), Console(stderr=True), False)
    assert list(shown(told, output, quiet=False)) == told
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [render_jobs.change(s) for s in (QUEUED, WAITS, RUNS)]


def test_a_refusals_reasons_are_those_of_its_result() -> None:
    result = CompileResult(status=ResultStatus.REJECTED, reasons=("will not fit",))
    end = JobEnd(tenant="t", job_id="j", state=JobState.REJECTED, result=result)
    assert status_of_end(end, "b").reasons == ("will not fit",)
    own = end.model_copy(update={"reasons": ("cancelled",)})
    assert status_of_end(own, "b").reasons == ("cancelled",)
    assert status_of_end(own, "b").location is None


def test_nothing_of_a_standing_is_lost() -> None:
    standing = JobStanding(
        tenant="t",
        job_id="j",
        state=JobState.COMPILING,
        position=1,
        waits_for=("x",),
        estimate_seconds=2.0,
        pool="p",
        stage="s",
        percent=3,
        line="l",
        reasons=("r",),
    )
    status = status_of_standing(standing, JobState.COMPILING)
    facts = standing.model_dump(exclude={"state", "details"})  # details are for who asks for them
    assert {name: getattr(status, name) for name in facts} == facts


def test_the_queue_fits_a_terminal_of_80_columns() -> None:
    report = QueueReport(
        tenants=(TenantQueue(tenant="t" * 32, jobs={JobState.QUEUED: 50_000}),),
        pools=(PoolQueue(pool="cmsis-nn", workers=4, busy=4, sent=4, waiting=1234, seconds=3.21),),
        scheduler=True,
        unread=7,
        dead={"dead.letters": 2, "pool.tvm.XQ": 0},
    )
    file = io.StringIO()
    Console(file=file, width=80).print(render_jobs.queue(report))
    text = file.getvalue()
    for said in ("t" * 32, "50,000", "1,234", "3.2", "7 requests", "2 in dead.letters"):
        assert said in text
    assert "pool.tvm.XQ" not in text


def test_what_is_being_done_waits_for_nothing() -> None:
    begun = RUNS.model_copy(update={"position": 0, "waits_for": ("pool tvm, which is at it",)})
    lines = list(render_jobs.standing(begun))
    assert "stage       tvm: compiling 5%" in lines
    assert not any(line.startswith(("position", "waits for")) for line in lines)
