import threading
from collections.abc import Iterator

import pytest

from broker.in_process import run_all


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
