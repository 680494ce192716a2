"""Fairness, merging, cancelling, malformed messages, takeover and chaos, in figures."""

from __future__ import annotations

import time

from benchmarks.farm_figures.figure import Figure
from broker.topology import COMPILE_KEY, sent_by
from tests.integration.chaos import chaos
from tests.integration.chaos.outcome import told
from tests.integration.chaos.takeover import TAKEOVER_SECONDS, kill_active_scheduler
from tests.integration.farm.desk import Desk
from tests.services.farm import RunningFarm
from tests.services.stub_compiler import Stub
from tests.unit.messages.malformed import kinds
from tinymlaas.contract.messages import JobState

WORKERS = 2
_CROWD, _SAME = 1000, 100


def fair(desk: Desk, stub: Stub) -> list[Figure]:
    """Let a tenant have 1,000 jobs waiting when another comes with one."""
    crowd = desk.submit_all(
        [stub.order("crowd", f"fair{n}", milliseconds="200", priority=9) for n in range(_CROWD)]
    )
    desk.until(lambda: len(stub.begun()) >= WORKERS)
    single = desk.submit(stub.order("single", "lonely", priority=0))
    desk.end(single)
    planned = next(at for at, told in desk.changes[single] if told.state is JobState.COMPILING)
    begins = [entry for entry in stub.journal() if entry.event == "begin"]
    start = next(entry.time for entry in begins if entry.name == "lonely")
    before = sum(e.name.startswith("fair") and planned < e.time < start for e in begins)
    for job in crowd:
        if job not in desk.ends:
            desk.cancel("crowd", job)
    desk.all_ended(crowd)
    what = f"jobs of the crowd begun before the single one, {WORKERS} workers"
    return [Figure("fair", what, before, "jobs", most=WORKERS, beside=f"{_CROWD:,} jobs waiting")]


def merge(desk: Desk, stub: Stub) -> list[Figure]:
    """Ask for the same many times at once."""
    orders = [stub.order("abc"[n % 3], "merged", milliseconds="300") for n in range(_SAME)]
    ends = desk.all_ended(desk.submit_all(orders))
    done = sum(end.state is JobState.DONE for end in ends)
    compiled = stub.begun().count("merged")
    return [
        Figure("merge", "compiles of identical requests", compiled, "compiles", most=1, least=1),
        Figure(
            "merge", "of these requests done", done, "jobs", least=_SAME, beside=f"{_SAME} sent"
        ),
    ]


def cancel(desk: Desk, stub: Stub) -> list[Figure]:
    """Keep all workers busy for ten minutes, then cancel their jobs."""
    names = [f"long{n}" for n in range(WORKERS)]
    jobs = [desk.submit(stub.order("a", name, milliseconds="600000")) for name in names]
    desk.until(lambda: all(name in stub.begun() for name in names))
    following = desk.submit(stub.order("b", "following"))
    planned = JobState.COMPILING  # and waits for a worker
    desk.until(lambda: any(told.state is planned for _, told in desk.changes[following]))
    asked = time.time()
    for job in jobs:
        desk.cancel("a", job)
    desk.end(following)
    begun = next(e.time for e in stub.journal() if (e.event, e.name) == ("begin", "following"))
    return [Figure("cancel", "until the worker compiles another's job", begun - asked, "s", most=2)]


def malformed(desk: Desk, stub: Stub) -> list[Figure]:
    """Send messages that are no requests, every other with a queue for the answer."""
    messages, names = kinds(), desk.farm.names
    before, pid = desk.count(names.dead_letters), desk.farm.schedulers[0].pid
    began = time.monotonic()
    for number, (_, body) in enumerate(messages):
        desk.publish(sent_by("a", COMPILE_KEY), body, desk.reply if number % 2 else None)
    told: list[object] = []

    def dead() -> int:
        return desk.count(names.dead_letters) - before

    def settled() -> bool:
        told.extend(desk.take_replies())
        return len(told) + dead() >= len(messages)

    desk.until(settled)
    seconds = time.monotonic() - began
    good = desk.end(desk.submit(stub.order("a", "after"))).state is JobState.DONE
    lasted = int(good and desk.farm.schedulers[0].pid == pid)
    return [
        Figure("malformed", "messages", len(messages), "", least=1000, beside=f"{seconds:.1f} s"),
        Figure("malformed", "answered with their reason", len(told), ""),
        Figure("malformed", "dead letters with their reason", dead(), ""),
        Figure("malformed", "scheduler still there, next job done", lasted, "", least=1),
    ]


def takeover(farm: RunningFarm, stub: Stub) -> list[Figure]:
    """Kill the active one of two schedulers."""
    farm.scheduler().await_page("/readyz", "standby")
    found = kill_active_scheduler(farm, stub)
    lost = sum(state is not JobState.DONE for state in found.states)
    twice = len(found.compiled) - len({*found.compiled})
    active = Figure(
        "takeover",
        "until the other scheduler is active",
        found.active,
        "s",
        most=TAKEOVER_SECONDS,
        beside=f"jobs end again after {found.first_end:.1f} s",
    )
    flying = Figure("takeover", "jobs in flight not done", lost, "jobs", most=0)
    return [active, flying, Figure("takeover", "compiled twice", twice, "jobs", most=0)]


def lost(seed: int) -> list[Figure]:
    """Run the whole of chaos."""
    found = chaos.run(chaos.FULL, seed)
    done = found.states.get(JobState.DONE, 0)
    told_how = f"seed {seed}, killed: {told(found.killed)}; {found.seconds:.0f} s"
    return [
        Figure("chaos", "accepted jobs done", done, "jobs", least=found.accepted, beside=told_how),
        Figure(
            "chaos",
            "lost, doubled, compiled again, left behind",
            len(found.problems),
            "",
            most=0,
            beside="; ".join(found.problems[:3]),
        ),
    ]
