"""Who is next: weighted fair share between tenants, then priority, then first come.

Start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queueing", SIGCOMM 1996), with jobs
for packets. A tenant's tag is the virtual time at which its next job may start; the lowest tag is
served, and pays cost ÷ weight. A tenant that comes back from idling starts at the present virtual
time: it neither saves up a share nor escapes what it has used.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_PURGE_ABOVE = 64


def _everyone(tenant: str, priority: int) -> bool:
    return True


class _Lane(Generic[K]):
    """One tenant's waiting keys by priority; dictionaries for their order and quick removal."""

    __slots__ = ("levels", "order", "tag")

    def __init__(self, tag: float, order: int) -> None:
        self.tag = tag
        self.order = order
        self.levels: dict[int, dict[K, float]] = {}

    def top(self) -> int:
        return max(self.levels)


class FairQueue(Generic[K]):
    """Keys waiting for service; choosing among n tenants takes O(n), all else O(1)."""

    def __init__(self, weight: Callable[[str], float] = lambda tenant: 1.0) -> None:
        """Give each tenant the share `weight` (> 0) says."""
        self._weight = weight
        self._lanes: dict[str, _Lane[K]] = {}
        self._past: dict[str, float] = {}  # tags of idle tenants that are still ahead of the time
        self._now = 0.0
        self._count = 0
        self._arrivals = 0
        self._purge_above = _PURGE_ABOVE

    def __len__(self) -> int:
        return self._count

    def push(self, tenant: str, priority: int, key: K, cost: float = 1.0) -> None:
        """Add `key`; one that waits already at this priority keeps its place."""
        lane = self._lanes.get(tenant)
        if lane is None:
            self._arrivals += 1
            tag = max(self._now, self._past.pop(tenant, 0.0))
            lane = self._lanes[tenant] = _Lane(tag, self._arrivals)
        level = lane.levels.setdefault(priority, {})
        self._count += key not in level
        level[key] = cost

    def discard(self, tenant: str, priority: int, key: K) -> bool:
        """Remove `key`; False if it does not wait."""
        lane = self._lanes.get(tenant)
        if lane is None or key not in lane.levels.get(priority, {}):
            return False
        self._take(tenant, lane, priority, key)
        return True

    def pop(self, may: Callable[[str, int], bool] = _everyone) -> K | None:
        """Remove and return who is next among the tenants whose head `may` go; None if none may.

        `may` is asked with a tenant and the priority of its first key.
        """
        best: tuple[float, int, str] | None = None
        for tenant, lane in self._lanes.items():
            rank = (lane.tag, lane.order, tenant)
            if (best is None or rank < best) and may(tenant, lane.top()):
                best = rank
        if best is None:
            return None
        tag, _, tenant = best
        lane = self._lanes[tenant]
        priority = lane.top()
        key = next(iter(lane.levels[priority]))
        self._now = max(self._now, tag)
        # What had to wait for its own leave, not for others, must not catch up on them.
        lane.tag = max(tag, self._now) + lane.levels[priority][key] / self._weight(tenant)
        self._take(tenant, lane, priority, key)
        return key

    def waiting(self, tenant: str) -> Iterator[K]:
        """Yield the keys of `tenant` in the order of its own queue."""
        lane = self._lanes.get(tenant)
        for priority in sorted(lane.levels, reverse=True) if lane else ():
            yield from lane.levels[priority] if lane else ()

    def tenants(self) -> int:
        """Return how many tenants have something waiting."""
        return len(self._lanes)

    def _take(self, tenant: str, lane: _Lane[K], priority: int, key: K) -> None:
        level = lane.levels[priority]
        del level[key]
        self._count -= 1
        if not level:
            del lane.levels[priority]
        if not lane.levels:
            del self._lanes[tenant]
            self._remember(tenant, lane.tag)

    def _remember(self, tenant: str, tag: float) -> None:
        if not self._lanes:  # all are even: time goes on from the last of them
            self._now = max(self._now, tag, *self._past.values())
            self._past.clear()
        elif tag > self._now:
            self._past[tenant] = tag
        if len(self._past) > self._purge_above:
            self._past = {t: tag for t, tag in self._past.items() if tag > self._now}
            self._purge_above = 2 * len(self._past) + _PURGE_ABOVE
