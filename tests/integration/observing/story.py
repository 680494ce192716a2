"""A half hour of a farm in a minute: jobs of all kinds, of two classes, some with trouble."""

from __future__ import annotations

import io
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from broker.topology import COMPILE_KEY, sent_by
from tests.integration.farm.desk import Desk, kept_alive
from tests.services.stub_compiler import Stub
from tinymlaas.contract.messages import CompileOrder, JobState, Payload

POLICY = """
worker_seconds = 10

[classes.gold]
weight = 3
tenants = ["acme"]
"""
SECONDS = 40.0  # that it lasts at least: 20 minutes of the long half hour
LONG = "600000"  # only a cancel ends such a job
LONG_SECONDS = 2.0
_AT_ONCE = 8


def labelled(tenant: str) -> Payload:
    """Return samples for the stub's model: the largest output is the label's on all but one."""
    samples = np.eye(8, 16, dtype=np.float32)
    labels = np.arange(8)
    labels[7] = 0
    file = io.BytesIO()
    np.savez(file, x=samples, labels=labels)
    return Payload.of(file.getvalue(), tenant, "labelled.npz")


@dataclass
class Story:
    """What is told, and what came of it: jobs by how they ended."""

    desk: Desk
    stub: Stub
    spare: Stub
    jobs: list[str] = field(default_factory=list)
    refused: int = 0
    _long: dict[str, tuple[str, float]] = field(default_factory=dict)  # whose, and since when

    def tell(self) -> None:
        """Have it all happen; returns when every job has ended but the one nobody can do."""
        desk, stub = self.desk, self.stub
        began = time.monotonic()
        (worker,) = desk.farm.workers[self.spare.name]
        worker.terminate()
        worker.await_end(30)
        nobody = desk.submit(self.spare.order("acme", "nobody"))
        with kept_alive(desk.farm.workers[stub.name]):
            poison = self._submit(stub.order("b", "poison", does="kill", milliseconds="100"))
            kinds = self._kinds()
            while time.monotonic() < began + SECONDS or poison not in desk.ends:
                self._submit(next(kinds))
                if len(self.jobs) % 5 == 0:
                    desk.publish(sent_by("b", COMPILE_KEY), b"no request")
                    self.refused += 1
                desk.until(lambda: self._cancelled() and self._unfinished() < _AT_ONCE)
            desk.until(lambda: self._cancelled() and not self._unfinished())
        desk.cancel("acme", nobody)
        desk.end(nobody)
        self.jobs.append(nobody)

    def ends(self) -> Counter[JobState]:
        """Return how many jobs ended how."""
        return Counter(self.desk.ends[job].state for job in self.jobs)

    def _submit(self, order: CompileOrder) -> str:
        self.jobs.append(self.desk.submit(order))
        if order.options["milliseconds"] == LONG:
            self._long[self.jobs[-1]] = (order.tenant, time.monotonic())
        return self.jobs[-1]

    def _unfinished(self) -> int:
        return sum(job not in self.desk.ends for job in self.jobs)

    def _kinds(self) -> Iterator[CompileOrder]:
        """Yield orders: new ones, old ones, and such as end badly or not at all by themselves."""
        for number in itertools.count():
            tenant = "acme" if number % 3 else "b"
            match number % 10:
                case 0:
                    yield self.stub.order(tenant, f"crash{number}", does="crash")
                case 1:
                    yield self.stub.order(tenant, f"refuse{number}", does="refuse")
                case 2:
                    yield self.stub.order(tenant, f"long{number}", milliseconds=LONG)
                case 3:
                    data = labelled(tenant)
                    yield self.stub.order(tenant, f"judged{number}", board="host", data=data)
                case 4 | 5 | 6:
                    yield self.stub.order(tenant, "again")
                case 7:
                    yield self.stub.order(tenant, f"wrong{number}", does="wrong", board="host")
                case _:
                    yield self.stub.order(tenant, f"new{number}", milliseconds="300")

    def _cancelled(self) -> bool:
        """Cancel what takes too long."""
        for job, (tenant, since) in [*self._long.items()]:
            if time.monotonic() > since + LONG_SECONDS:
                self.desk.cancel(tenant, job)
                del self._long[job]
        return True
