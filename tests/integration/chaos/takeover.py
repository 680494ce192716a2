"""Two schedulers, of which the active one is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.integration.farm.desk import Desk
from tests.services.farm import FarmProcess, RunningFarm
from tests.services.stub_compiler import Stub
from tinymlaas.contract.messages import JobState

TAKEOVER_SECONDS = 15.0
_JOBS = 20


@dataclass(frozen=True)
class Takeover:
    """`active` seconds after the kill the other was active, `first_end` when a job ended again."""

    active: float
    first_end: float
    states: tuple[JobState, ...]
    compiled: tuple[str, ...]


def kill_active_scheduler(farm: RunningFarm, stub: Stub, prefix: str = "over") -> Takeover:
    """Kill the active one of two while jobs are in flight; return when they have all ended."""
    desk = Desk(farm)
    try:
        orders = [stub.order("a", f"{prefix}{n}", milliseconds="300") for n in range(_JOBS)]
        jobs = desk.submit_all(orders)
        desk.until(lambda: sum(job in desk.ends for job in jobs) >= 3)
        victim, other = _roles(farm.schedulers)
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        killed, before = time.monotonic(), len(desk.ends)
        desk.until(lambda: is_active(other), 60)
        active = time.monotonic() - killed
        # What was on its way when the scheduler died may still arrive, so the second end counts.
        desk.until(lambda: len(desk.ends) >= before + 2)
        first_end = time.monotonic() - killed
        states = tuple(end.state for end in desk.all_ended(jobs))
        begun = tuple(name for name in stub.begun() if name.startswith(prefix))
        return Takeover(active, first_end, states, begun)
    finally:
        desk.close()


def is_active(scheduler: FarmProcess) -> bool:
    """Return whether it is the one that schedules; one that stands by speaks of the active too."""
    status, text = scheduler.get("/readyz")
    return status == 200 and text.startswith("active")


def _roles(schedulers: Sequence[FarmProcess]) -> tuple[FarmProcess, FarmProcess]:
    """Return the active one and the standby."""
    running = [each for each in schedulers if each.running]
    active = next(each for each in running if is_active(each))
    return active, next(each for each in running if each is not active)
