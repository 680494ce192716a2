"""The queue of a laptop: candidates of one job run on a few threads of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

_STOP_SECONDS = 0.2

T = TypeVar("T")
R = TypeVar("R")


def run_all(jobs: Iterable[T], handle: Callable[[T], R], threads: int) -> list[R]:
    """Run `handle` on every job, at most `threads` at once; return results in the jobs' order.

    The work is done by compilers, linkers and simulators in processes of their own, so threads
    that wait for them are enough. An exception of `handle` ends the whole run once the jobs begun
    are done. Being stopped (any other exception, in the thread that waits here) waits for nothing:
    the threads are left to end with the process.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="worker")
    try:
        results = list(pool.map(handle, jobs))
    except BaseException as error:
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()
    return results


def run_until(
    jobs: Iterable[T],
    handle: Callable[[T], R],
    threads: int,
    *,
    enough: Callable[[R], bool],
    seconds: float | None,
    stop: Callable[[], None],
) -> list[R | None]:
    """Run as `run_all` does, but only until a result is `enough` or `seconds` have passed.

    Then nothing more is begun, and `stop` is called, again and again, to have what runs end soon.
    What had not ended by itself is None.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="worker")
    try:
        futures = [pool.submit(handle, job) for job in jobs]
        ended = _first(futures, enough, seconds)
        for future in futures:
            future.cancel()
        running = {future for future in futures if not future.done()}
        while running:
            stop()
            running = wait(running, timeout=_STOP_SECONDS).not_done
    except BaseException as error:
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()
    return [future.result() if future in ended else None for future in futures]


def _first(
    futures: Iterable[Future[R]], enough: Callable[[R], bool], seconds: float | None
) -> set[Future[R]]:
    """Return what has ended by the time that is enough or over."""
    deadline = None if seconds is None else time.monotonic() + seconds
    pending, ended = set(futures), set[Future[R]]()
    while pending:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        done, pending = wait(pending, timeout=left, return_when=FIRST_COMPLETED)
        ended |= done
        if not done or any(enough(future.result()) for future in done):
            break
    return ended
