"""Races on a farm: those that end early, and float beside int8 with the real compilers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from scheduler.past_races import past_races
from tests.integration.farm.desk import Desk
from tests.integration.farm.test_must_hold import alive
from tests.services.farm import farm
from tests.services.stub_compiler import Stub, install
from tinymlaas.contract.messages import Calibration, CompileOrder, JobEnd, JobState, Payload
from tinymlaas.contract.race import Limits, Race
from tinymlaas.contract.report import CandidateReport, CandidateStatus

DIGITS = Path(__file__).parents[3] / "examples" / "digits"
BOARD = "nucleo-l4r5zi"
AUTO = {"board": "host"}  # where what the stub makes is run and verified


class Hall(NamedTuple):
    """A farm with one worker for each of two stub compilers."""

    desk: Desk
    quick: Stub
    late: Stub


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    folder = tmp_path_factory.mktemp("hall")
    quick, late = (install(folder / name, name) for name in ("quick", "late"))
    with farm(folder / "farm", ["quick", "late"], compilers=[quick.folder, late.folder]) as running:
        desk = Desk(running)
        try:
            yield Hall(desk, quick, late)
        finally:
            desk.close()


def auto(order: CompileOrder, **changes: object) -> CompileOrder:
    return order.model_copy(update={"compiler": "auto", **changes})


def by_name(end: JobEnd) -> dict[str, CandidateReport]:
    assert end.result is not None
    return {each.compiler: each for each in end.result.candidates}


def test_the_first_verified_ends_the_job_and_frees_the_pools(hall: Hall) -> None:
    desk, names = hall.desk, hall.desk.farm.names
    busy = desk.submit(hall.late.order("a", "busy", milliseconds="600000"))
    desk.until(lambda: "busy" in hall.late.begun())
    end = desk.end(desk.submit(auto(hall.quick.order("a", "hasty", **AUTO), first=True)))
    assert end.state is JobState.DONE, end.reasons
    found = by_name(end)
    assert found["quick"].status is CandidateStatus.VERIFIED
    assert found["late"].status is CandidateStatus.SKIPPED
    assert found["late"].reasons == ("not tried as another was verified first",)
    assert desk.count(names.pool("late")) == 0
    again = desk.end(desk.submit(auto(hall.quick.order("b", "hasty", **AUTO), first=True)))
    assert by_name(again)["quick"].cached
    desk.cancel("a", busy)
    assert desk.end(busy).state is JobState.CANCELLED
    whole = desk.end(desk.submit(auto(hall.quick.order("b", "hasty", **AUTO))))
    assert {each.status for each in by_name(whole).values()} == {CandidateStatus.VERIFIED}
    assert hall.quick.begun().count("hasty") == hall.late.begun().count("hasty") == 1
    desk.until(lambda: [*desk.farm.store.list("races/")] != [])
    (info,) = desk.farm.store.list("races/")
    (record,) = past_races(info.key.path.split("/")[1], desk.farm.store)
    assert {entry.compiler for form in record.forms for entry in form.entries} == {"quick", "late"}


def test_a_budget_ends_the_job_and_leaves_alone_what_another_wants(hall: Hall) -> None:
    desk, order = hall.desk, hall.late.order("a", "endless", milliseconds="600000")
    patient = desk.submit(order)
    desk.until(lambda: "endless" in hall.late.begun())
    end = desk.end(desk.submit(order.model_copy(update={"budget": 1.0})))
    assert (end.state, end.reasons) == (
        JobState.FAILED,
        ("not finished within the budget of 1 s",),
    )
    (entry,) = [entry for entry in hall.late.journal() if entry.name == "endless"]
    assert alive(entry.pid), "the other job's"
    assert patient not in desk.ends
    desk.cancel("a", patient)
    desk.until(lambda: not alive(entry.pid))
    alone = hall.late.order("a", "alone", milliseconds="600000").model_copy(update={"budget": 3.0})
    assert desk.end(desk.submit(alone)).state is JobState.FAILED
    (entry,) = [entry for entry in hall.late.journal() if entry.name == "alone"]
    desk.until(lambda: not alive(entry.pid))


def digits(**changes: object) -> CompileOrder:
    """Return an order for the digits model; its files travel inside the message."""
    model, samples, data = (
        Payload.of((DIGITS / name).read_bytes(), "a", name)
        for name in ("digits.onnx", "calibration_digits.npz", "test_digits.npz")
    )
    whole = CompileOrder(
        tenant="a",
        name="digits",
        model=model,
        calibration=Calibration(samples=samples),
        data=data,
        race=Race(limits=Limits(accuracy=0.95)),
        board=BOARD,
    )
    return whole.model_copy(update=changes)


@pytest.mark.slow
def test_float_and_int8_race_in_one_job_and_labelled_samples_judge(tmp_path: Path) -> None:
    with farm(tmp_path / "farm", ["cmsis-nn", "tvm"]) as running:
        desk = Desk(running)
        try:
            end = desk.end(desk.submit(digits()), 300)
            no_samples = digits(data=digits().model, calibration=None)
            refused = desk.end(desk.submit(no_samples), 300)
        finally:
            desk.close()
    assert end.state is JobState.DONE, end.reasons
    assert end.result is not None
    found = end.result.candidates
    verified = [each for each in found if each.status == "verified"]
    assert all((each.accuracy or 0.0) > 0.95 for each in verified)
    assert all(each.accuracy is None for each in found if each.status != "verified")
    assert refused.state is JobState.REJECTED
    assert refused.reasons[0].startswith("data: cannot be read as .npz")
    assert {(each.compiler, each.quantised) for each in verified} == {
        ("cmsis-nn", True),
        ("tvm", True),
        ("tvm", False),
    }
    assert {each.compiler for each in found if not each.quantised} == {"cmsis-nn", "tvm"}
    assert all(0 < (each.quantisation_error or 0) < 0.1 for each in found if each.quantised)
    assert all(each.quantisation_error is None for each in found if not each.quantised)
    assert end.result.quantisation is not None
    assert end.result.quantisation.model == "digits.onnx"
    chosen = found[end.result.chosen or 0]
    assert (chosen.compiler, chosen.quantised) == ("cmsis-nn", True)
