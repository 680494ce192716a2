import threading
from collections.abc import Iterator

import pytest

from broker.in_process import run_all, run_until


def test_results_come_in_the_order_of_the_jobs() -> None:
    second_is_done = threading.Event()

    def handle(job: int) -> int:
        if job == 0:
            assert second_is_done.wait(60)
        else:
            second_is_done.set()
        return job * job

    assert run_all([0, 1, 2, 3], handle, threads=2) == [0, 1, 4, 9]


def test_an_exception_ends_the_run_once_what_was_begun_is_done() -> None:
    begun, done = threading.Event(), []

    def handle(job: str) -> None:
        if job == "fails":
            assert begun.wait(60)
            raise KeyError(job)
        begun.set()
        done.append(job)

    with pytest.raises(KeyError, match="fails"):
        run_all(["fails", "begun"], handle, threads=2)
    assert done == ["begun"]


def test_being_stopped_waits_for_no_job() -> None:
    release = threading.Event()

    def jobs() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt  # in the waiting thread, as a signal would

    def handle(job: int) -> bool:
        return release.wait(60)

    with pytest.raises(KeyboardInterrupt):
        run_all(jobs(), handle, threads=1)
    assert not release.is_set()
    release.set()


def test_enough_is_enough_what_runs_is_stopped_and_the_rest_not_begun() -> None:
    stopped, begun = threading.Event(), []

    def handle(job: str) -> str:
        begun.append(job)
        if job == "long":
            assert stopped.wait(60)
        return job

    jobs = ["long", "good", "never"]
    found = run_until(
        jobs, handle, 2, enough=lambda job: job == "good", seconds=None, stop=stopped.set
    )
    assert found == [None, "good", None]
    assert stopped.is_set()
    assert "long" in begun


def test_when_time_is_up_what_has_ended_counts() -> None:
    stopped = threading.Event()

    def handle(job: str) -> str:
        assert job != "long" or stopped.wait(60)
        return job

    found = run_until(
        ["quick", "long", "later"],
        handle,
        1,
        enough=lambda job: False,
        seconds=1.0,
        stop=stopped.set,
    )
    assert found[1:] == [None, None]
    assert found[0] in ("quick", None)  # a machine may be too busy even for that


def test_all_is_done_where_nothing_ends_it() -> None:
    def never() -> None:
        raise AssertionError("nothing is to be stopped")

    found = run_until(
        [1, 2, 3], lambda n: n + 1, 2, enough=lambda n: False, seconds=600.0, stop=never
    )
    assert found == [2, 3, 4]
    assert run_until([], str, 2, enough=bool, seconds=None, stop=never) == []
    with pytest.raises(ZeroDivisionError):
        run_until([0], lambda n: 1 / n, 2, enough=bool, seconds=None, stop=never)
