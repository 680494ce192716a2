"""A race that ends early says what it did not try, and begins with what did well before."""

from pathlib import Path

import numpy as np
import pytest

from storage import keys
from storage.directory import DirectoryStore
from tests.integration.race.services import PLUGIN, relu, service, slow
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.history import RaceRecord
from tinymlaas.contract.report import CandidateReport, CandidateStatus, ResultStatus
from tinymlaas.local import Wish

BOARD = "nucleo-l4r5zi"
SKIPPED = CandidateStatus.SKIPPED


def by_name(candidates: tuple[CandidateReport, ...]) -> dict[str, CandidateReport]:
    return {candidate.compiler: candidate for candidate in candidates}


def test_the_first_verified_is_taken_at_once(tmp_path: Path, cache: Path) -> None:
    """The compiler that sleeps for ten minutes is not waited for, nor is what it leaves kept."""
    racing = service(tmp_path, cache, slow(tmp_path, "asleep"), PLUGIN)
    done = racing.compile(relu(tmp_path), BOARD, Wish(first=True), tmp_path).result
    assert done.status is ResultStatus.DONE
    assert done.chosen is not None
    assert done.candidates[done.chosen].status is CandidateStatus.VERIFIED
    asleep = by_name(done.candidates)["asleep"]
    assert asleep.status is SKIPPED
    assert asleep.reasons == ("not finished as another was verified first",)
    store = DirectoryStore(tmp_path / "store")
    assert asleep.action_digest is not None
    assert store.head(keys.action_outcome(asleep.compiler, asleep.action_digest)) is None
    again = racing.compile(relu(tmp_path), BOARD, Wish(first=True), tmp_path).result
    assert again.chosen is not None
    assert again.candidates[again.chosen].cached


def test_a_budget_ends_the_race_and_says_what_was_not_tried(tmp_path: Path, cache: Path) -> None:
    sleepers = [slow(tmp_path, name) for name in ("asleep", "dozing")]
    racing = service(tmp_path, cache, *sleepers, PLUGIN)
    racing.compile(relu(tmp_path), BOARD, Wish("elementwise"), tmp_path)  # the store has it
    done = racing.compile(relu(tmp_path), BOARD, Wish(budget=3.0), tmp_path).result
    found = by_name(done.candidates)
    assert {found[name].status for name in ("asleep", "dozing")} == {SKIPPED}
    assert {found[name].reasons for name in ("asleep", "dozing")} == {
        ("not finished within the budget of 3 s",)
    }
    assert found["elementwise"].cached, "what the store has takes nothing of the budget"
    assert done.status is ResultStatus.DONE
    assert done.chosen is not None
    assert done.candidates[done.chosen].status is CandidateStatus.VERIFIED
    hopeless = Wish(compiler="asleep", budget=1.0, first=True)
    late = racing.compile(relu(tmp_path), BOARD, hopeless, tmp_path).result
    assert (late.status, late.chosen) == (ResultStatus.FAILED, None)
    assert late.reasons == ("not finished within the budget of 1 s",)


@pytest.mark.slow
def test_history_has_the_best_guess_tried_first(tmp_path: Path, cache: Path) -> None:
    racing = service(tmp_path, cache, PLUGIN)
    model = relu(tmp_path)
    full = racing.compile(model, BOARD, Wish(), tmp_path).result
    assert full.chosen is not None
    winner = full.candidates[full.chosen]
    store = DirectoryStore(tmp_path / "store")
    (info,) = store.list("races/")
    record = RaceRecord.model_validate_json(store.get(info.key))
    (form,) = record.forms
    assert {entry.compiler for entry in form.entries} == {"elementwise", "tvm"}
    assert form.operators == {"Relu": 1}
    like = tmp_path / "like"
    like.mkdir()
    first = racing.compile(relu(like, 80), BOARD, Wish(first=True), tmp_path).result
    assert first.chosen is not None
    chosen = first.candidates[first.chosen]
    tried = [c for c in first.candidates if c.status is not SKIPPED and c.action_digest]
    assert winner.compiler in {candidate.compiler for candidate in tried}
    assert chosen.status is CandidateStatus.VERIFIED


def test_a_race_that_cannot_be_remembered_is_none_the_worse(tmp_path: Path, cache: Path) -> None:
    racing = service(tmp_path, cache, PLUGIN)
    (tmp_path / "store" / "races").write_text("in the way")
    done = racing.compile(relu(tmp_path), BOARD, Wish(), tmp_path)
    assert done.result.status is ResultStatus.DONE
    assert any(said.startswith("this race is not remembered: ") for said in done.notices)


def test_samples_of_no_use_are_refused_before_anything_is_built(
    tmp_path: Path, cache: Path
) -> None:
    racing = service(tmp_path, cache, slow(tmp_path, "asleep"))
    x = np.zeros((3, 64), np.float32)
    for labels, reason in (
        ({}, "has no array 'labels'"),
        ({"labels": [0, 64, 1]}, "label 64 is no class: output 'y' has 64"),
    ):
        np.savez(tmp_path / "data.npz", x=x, **labels)
        wish = Wish(compiler="asleep", data=tmp_path / "data.npz")
        with pytest.raises(UsageError, match=reason):
            racing.compile(relu(tmp_path), BOARD, wish, tmp_path)
