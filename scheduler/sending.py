"""What the scheduler says to its pools, as messages."""

from __future__ import annotations

from scheduler.trail import Sent
from scheduler.wanted import Action
from tinymlaas.contract.pool_messages import (
    PoolTask,
    RollCall,
    RollCalled,
    TaskKill,
    TaskKilled,
    TaskSent,
)

SOURCE = "tinymlaas/scheduler"


def task_message(action: Action, seconds: float, sent: Sent | None) -> bytes:
    """Return the message that has an action done within `seconds`, in the trace it is `sent` in."""
    need, first = action.need, next(iter(action.waiters.values()))
    task = PoolTask(
        task_id=action.task_id,
        action=need.action,
        pool=need.pool,
        service=need.service,
        seconds=seconds,
        suspect=action.suspect,
        work=need.work,
        links=sent.others if sent else (),
    )
    event = TaskSent(
        id=action.task_id,
        source=SOURCE,
        data=task,
        traceparent=sent.traceparent if sent else first.traceparent,
        tracestate=None if sent else first.tracestate,
    )
    return event.encoded()


def kill_message(task_id: str, action: str) -> bytes:
    """Return the message that has one sending of an action given up."""
    kill = TaskKill(task_id=task_id, action=action)
    return TaskKilled(id=f"kill-{task_id}", source=SOURCE, data=kill).encoded()


def roll_call(pool: str, now: float) -> bytes:
    """Return the message that has every worker of `pool` say that it lives."""
    called = RollCall(pool=pool)
    return RollCalled(id=f"roll-call-{now!r}", source=SOURCE, data=called).encoded()
