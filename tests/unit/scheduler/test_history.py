import pytest

from scheduler.candidates import Candidate, job_for
from scheduler.history import likeness, promise, record_of
from tests.unit.scheduler.facts import BOARD, compiler, inspection, summary
from tests.unit.scheduler.test_choice import FAILED, REJECTED, VERIFIED, report
from tinymlaas.contract.history import RaceRecord
from tinymlaas.contract.jobs import CandidateJob
from tinymlaas.contract.report import CandidateReport, CandidateStatus, Objective
from tinymlaas.contract.tensors import DType

LATENCY = {Objective.LATENCY: 1.0}
CONV = summary(Conv=DType.FLOAT32, Relu=DType.FLOAT32).model_copy(update={"macs": 1000})
DENSE = summary(Gemm=DType.FLOAT32, Softmax=DType.FLOAT32).model_copy(update={"macs": 1000})


def job(name: str, facts=CONV) -> CandidateJob:
    candidate = Candidate(compiler(name), "generated")
    return job_for(candidate, inspection(facts), name="m", target=BOARD, shapes={}, service="s")


def past(facts, *reports: CandidateReport) -> RaceRecord:
    return record_of(facts, reports)


def order(jobs: list[str], *records: RaceRecord, facts=CONV, weights=None) -> list[str]:
    return [jobs[i] for i in promise([job(n, facts) for n in jobs], records, weights or LATENCY)]


def test_what_won_with_a_like_model_goes_first() -> None:
    record = past(CONV, report(VERIFIED, 300, 1, 9, "a"), report(VERIFIED, 100, 9, 1, "b"))
    assert order(["a", "b"]) == ["a", "b"]
    assert order(["a", "b"], record) == ["b", "a"]
    assert order(["a", "b"], record, weights={Objective.FLASH: 1.0}) == ["a", "b"]
    assert order(["a", "b"], record, weights={Objective.RAM: 1.0}) == ["b", "a"]


def test_the_more_alike_the_more_a_race_counts() -> None:
    convolutions = past(CONV, report(VERIFIED, 900, 1, 1, "a"), report(VERIFIED, 100, 1, 1, "b"))
    dense = past(DENSE, report(VERIFIED, 100, 1, 1, "a"), report(VERIFIED, 900, 1, 1, "b"))
    assert order(["a", "b"], convolutions, dense) == ["b", "a"]
    assert order(["a", "b"], convolutions, dense, facts=DENSE) == ["a", "b"]


def test_what_came_to_nothing_goes_last_and_what_is_new_between() -> None:
    record = past(
        CONV,
        report(FAILED, 1, 1, 1, "broken"),
        report(VERIFIED, 900, 1, 1, "slow"),
        report(VERIFIED, 100, 1, 1, "fast"),
        report(REJECTED, None, None, None, "refused"),
    )
    found = order(["broken", "slow", "refused", "new", "fast"], record)
    assert found == ["fast", "new", "slow", "broken", "refused"]


def test_likeness_is_of_operators_work_and_type() -> None:
    record = past(CONV)
    assert likeness(CONV, record) == pytest.approx(1.0)
    assert likeness(DENSE, record) == 0.0
    tenfold = CONV.model_copy(update={"macs": 10_000})
    assert 0.2 < likeness(tenfold, record) < 0.5
    other = CONV.model_copy(update={"dtype": DType.INT8})
    assert likeness(other, record) == pytest.approx(0.25)


def test_only_what_was_tried_is_remembered() -> None:
    skipped = report(CandidateStatus.SKIPPED, compiler="s")
    facts_alone = report(REJECTED, compiler="r").model_copy(update={"action_digest": None})
    record = past(CONV, skipped, facts_alone, report(VERIFIED, 1, 2, 3, "v"))
    (entry,) = record.entries
    assert (entry.compiler, entry.instructions, entry.flash_bytes, entry.ram_bytes) == (
        "v",
        1,
        2,
        3,
    )
    assert record.operators == {"Conv": 1, "Relu": 1}
    assert RaceRecord.model_validate_json(record.model_dump_json()) == record
