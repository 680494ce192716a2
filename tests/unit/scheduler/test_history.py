import pytest

from scheduler.candidates import Candidate, job_for
from scheduler.history import core_of, likeness, merged, promise, record_of
from scheduler.past_races import keep_race, past_races
from storage import keys
from storage.memory import MemoryStore
from tests.unit.scheduler.facts import BOARD, compiler, inspection, summary
from tests.unit.scheduler.test_choice import FAILED, REJECTED, VERIFIED, report
from tinymlaas.contract.digest import sha256
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
    record = record_of([(facts, report) for report in (*reports, report(REJECTED, compiler="x"))])
    assert record is not None
    return record


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
        report(VERIFIED, 900, 1, 1, "slow"),
        report(VERIFIED, 100, 1, 1, "fast"),
        report(REJECTED, None, None, None, "refused"),
    )
    found = order(["slow", "refused", "new", "fast"], record)
    assert found == ["fast", "new", "slow", "refused"]


def test_what_failed_is_not_remembered_but_what_it_did_before_is() -> None:
    """It may have been the disk that was full."""
    good, bad = report(VERIFIED, 100, 1, 1, "a"), report(FAILED, None, None, None, "a")
    before = past(CONV, good, report(VERIFIED, 900, 1, 1, "b"))
    now = past(CONV, bad, report(VERIFIED, 900, 1, 1, "b"))
    assert [entry.compiler for entry in now.forms[0].entries] == ["b", "x"]
    assert merged(before, now).forms == before.forms
    assert record_of([(CONV, bad), (CONV, bad), (CONV, good)]) is None


@pytest.mark.parametrize("instructions", [-1, 1 << 61])
def test_numbers_that_cannot_be_are_not_remembered(instructions: int) -> None:
    reports = report(VERIFIED, instructions, 1, 1, "a"), report(VERIFIED, 900, 1, 1, "b")
    assert record_of([(CONV, each) for each in reports]) is None


def test_likeness_is_of_operators_work_and_type() -> None:
    (form,) = past(CONV, report()).forms
    assert likeness(CONV, form) == pytest.approx(1.0)
    assert likeness(DENSE, form) == 0.0
    tenfold = CONV.model_copy(update={"macs": 10_000})
    assert 0.2 < likeness(tenfold, form) < 0.5
    other = CONV.model_copy(update={"dtype": DType.INT8})
    assert likeness(other, form) == pytest.approx(0.25)


def test_what_was_turned_away_by_facts_alone_is_not_remembered() -> None:
    facts_alone = report(REJECTED, compiler="r").model_copy(update={"action_digest": None})
    record = past(CONV, facts_alone, report(VERIFIED, 1, 2, 3, "v"))
    (form,) = record.forms
    (entry, _) = form.entries
    assert (entry.compiler, entry.instructions, entry.flash_bytes, entry.ram_bytes) == (
        "v",
        1,
        2,
        3,
    )
    assert form.operators == {"Conv": 1, "Relu": 1}
    assert RaceRecord.model_validate_json(record.model_dump_json()) == record


def test_a_race_that_was_not_run_to_its_end_or_had_one_runner_is_not_remembered() -> None:
    """Else the slow one that was verified first would be the best for ever."""
    done, skipped = report(VERIFIED, 9, 9, 9, "a"), report(CandidateStatus.SKIPPED, compiler="s")
    assert record_of([(CONV, done), (CONV, done), (CONV, skipped)]) is None
    assert record_of([(CONV, done)]) is None


def test_forms_of_a_model_are_held_against_one_another() -> None:
    whole = DENSE.model_copy(update={"digest": "9" * 64, "dtype": DType.INT8})
    results = [(DENSE, report(VERIFIED, 900, 1, 1, "a")), (whole, report(VERIFIED, 100, 1, 1, "b"))]
    record = record_of(results)
    assert record is not None
    jobs = [job("a", DENSE), job("b", whole)]
    assert promise(jobs, [record], LATENCY) == [1, 0]


def test_the_same_race_is_the_same_record_and_a_smaller_one_adds_to_it() -> None:
    a, b, c = (report(VERIFIED, n, n, n, name) for n, name in enumerate("abc", 1))
    assert past(CONV, a, b) == past(CONV, b, a)
    assert merged(past(CONV, a, b), past(CONV, c)) == past(CONV, a, b, c)
    faster = report(VERIFIED, 1, 1, 1, "b")
    assert merged(past(CONV, a, b), past(CONV, faster)) == past(CONV, a, faster)
    another = CONV.model_copy(update={"digest": "8" * 64})
    assert merged(past(CONV, a), past(another, b)) == past(another, b)


def test_past_races_are_bounded_and_what_is_damaged_is_passed_over() -> None:
    store, core = MemoryStore(), core_of(BOARD)
    for number in range(300):
        digest = sha256(f"{number}".encode())
        keep_race(core, past(CONV.model_copy(update={"digest": digest}), report()), store)
    kept = past_races(core, store)
    assert 100 < len(kept) <= 256
    newest = [record for record in kept if record.model_digest == digest]
    assert len(newest) == 1
    key = keys.race(core, digest)
    bad = newest[0].model_dump_json().replace('"Conv":1', '"Conv":-1')
    store.delete(key)
    store.put_if_absent(key, bad.encode())
    assert len(past_races(core, store)) == len(kept) - 1
    keep_race(core, newest[0], store)
    assert past_races(core, store) == kept
