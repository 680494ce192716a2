"""The queue of a laptop: candidates of one job run on a few threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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
