"""Who waits, told to whoever asks."""

from __future__ import annotations

from scheduler.actions import SOURCE
from scheduler.core import Core
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.queue_messages import (
    PoolQueue,
    QueueAsked,
    QueueOverview,
    QueueTold,
    TenantQueue,
)


def overview(core: Core, of: str | None = None) -> QueueOverview:
    """Return the unfinished jobs by tenant, or of one alone, and the pools, all in alphabetical
    order.

    Takes time in proportion to the unfinished jobs.
    """
    jobs: dict[str, dict[JobState, int]] = {}
    for (tenant, state), count in core.states_by_tenant().items():
        if of in {None, tenant}:
            jobs.setdefault(tenant, {})[state] = count
    pools = core.pools_now()
    averages = {name: core.actions.pool(name).average for name in pools}
    return QueueOverview(
        tenants=tuple(TenantQueue(tenant=each, jobs=jobs[each]) for each in sorted(jobs)),
        pools=tuple(
            PoolQueue(
                pool=name,
                workers=now.workers,
                busy=now.busy,
                sent=now.running,
                waiting=now.waiting,
                seconds=averages[name],
            )
            for name, now in sorted(pools.items())
        ),
    )


def answer(core: Core, asked: QueueAsked, tenant: str | None = None) -> tuple[str, bytes]:
    """Return the queue that `asked` names, and what goes there: to a tenant nothing of others."""
    found = overview(core, tenant)
    told = QueueTold(id=asked.id, source=SOURCE, traceparent=asked.traceparent, data=found)
    return asked.data.reply, told.encoded()
