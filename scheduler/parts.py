"""What the parts of the state machine share, and how a job comes to wait for work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.actions import Actions
from scheduler.announcing import Announcing
from scheduler.at_hand import AtHand
from scheduler.effects import Effect, Key
from scheduler.ending import Ending
from scheduler.jobs import Job, Step, plan_of
from scheduler.meter import Meter
from scheduler.planning import Need
from scheduler.pools_known import PoolsKnown
from scheduler.ports import Clock
from scheduler.trail import Trail
from scheduler.turns import Turns


@dataclass(frozen=True)
class Parts:
    """The parts; what the world is to do is appended to `effects`."""

    jobs: dict[Key, Job]
    effects: list[Effect]
    clock: Clock
    turns: Turns
    actions: Actions
    pools: PoolsKnown
    announcing: Announcing
    ending: Ending
    meter: Meter
    trail: Trail
    at_hand: AtHand

    def step(self, job: Job, step: Step) -> None:
        """Have `job` be at `step`; the store has answered what was asked for it."""
        before = job.state
        job.step = step
        if job.state is not before:
            self.ending.staged(job, before)
        self.turns.answered(job.key)

    def want(self, job: Job, step: Step, needs: Sequence[Need]) -> None:
        """Have `job` wait at `step` for `needs`, besides what it waits for already."""
        self.step(job, step)
        plan_of(job).wants |= {need.action for need in needs}
        self.actions.want(job, needs)
        self.park(job)
        self.announcing.changed(job)

    def park(self, job: Job) -> None:
        """Look whether a planned job waits for workers only that are not there."""
        wants = plan_of(job).wants
        away = bool(wants) and all(map(self.actions.without_workers, wants))
        self.turns.park(job, away or job.step is Step.HELD)
