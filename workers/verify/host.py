"""Runs on the host itself: a child process, its stack painted, its instructions not counted."""

from __future__ import annotations

from workers.verify.job import Bench, Job, Ran, RunFailed

HOST = "host"
SOURCES = ("harness_streams.c", "port_host.c")


def run_on_host(job: Job) -> Ran:
    """Run `job` natively; called inside.

    Raises:
        RunFailed: the module crashed, reported an error or did not end in time.
    """
    bench = Bench.of(job, 0)
    bench.write_inputs(job.samples)
    program = bench.link()
    done = bench.start([f"./{program.name}"], HOST)
    if done.returncode != 0:
        raise RunFailed(f"the module failed on {HOST}: {done.stderr}")
    return bench.ran(0)
