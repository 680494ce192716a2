"""Runs on the host itself: a child process, its stack painted, its instructions not counted."""

from __future__ import annotations

from tinymlaas.contract.manifest import Level
from workers.toolchains.toolchain import toolchain_for
from workers.verify.job import Job, RunFailed, RunResult, deepest

HOST = "host"


def run_on_host(job: Job) -> RunResult:
    """Run `job` natively.

    Raises:
        RunFailed: the module crashed, reported an error or did not end in time.
    """
    job.write_inputs()
    program = job.link(job.target, ["harness_streams.c", "port_host.c"])
    done = job.start([str(program)], HOST)
    if done.returncode != 0:
        raise RunFailed(f"the module failed on {HOST}: {done.stderr}")
    answer = job.answer()
    return RunResult(
        outputs=answer.outputs,
        instructions=None,
        instructions_by_sample=(),
        stack_bytes=deepest([answer]),
        machine=HOST,
        simulator=toolchain_for(job.target.core).version(),
        level=Level.MEASURED,
    )
