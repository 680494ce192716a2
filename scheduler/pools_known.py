"""Which pools there are, what their compilers can do, and how long one is waited for."""

from __future__ import annotations

from collections.abc import Sequence

from tinymlaas.contract.compiler import CompilerDescription
from tinymlaas.contract.pool_messages import PREPARE_POOL, PoolDescription, WorkerStanding


class PoolsKnown:
    """What workers say of their pools, or said before we were started (see `Library.pools`).

    A pool that is expected and has never been heard of is *missing*. Jobs that may need its
    compiler wait for it, but not for ever: from `seconds` after the first of them has come, it is
    *away*, and jobs for all compilers are planned without it and say so.
    """

    def __init__(self, expected: Sequence[str], service: str) -> None:
        """Expect pools by name; `service` is the version of our own part of the work."""
        self._expected = tuple(expected)
        self._own = service
        self._told: dict[str, PoolDescription] = {}
        self._since: float | None = None

    def waited(self, now: float) -> float:
        """Return for how many seconds somebody has waited for missing pools."""
        if self._since is None:
            self._since = now
        return now - self._since

    def missing(self) -> list[str]:
        """Return the expected pools of which nothing is known."""
        return [name for name in self._expected if name not in self._told]

    def needed(self, compiler: str) -> list[str]:
        """Return the missing pools without which an order for `compiler` cannot be planned."""
        name = compiler.partition("/")[0]
        missing = [pool for pool in self.missing() if pool != PREPARE_POOL]
        return missing if name == "auto" else [pool for pool in missing if pool == name]

    def heard(self, standing: WorkerStanding) -> PoolDescription | None:
        """Take a worker's word; return it if it is news that the store should have."""
        told = PoolDescription(
            pool=standing.pool, service=standing.service, description=standing.description
        )
        if standing.leaving or self._told.get(standing.pool) == told:
            return None
        self._told[standing.pool] = told
        return told

    def recall(self, told: PoolDescription) -> None:
        """Take what the store has of a pool; what a worker has said meanwhile counts more."""
        if told.pool in self._expected:
            self._told.setdefault(told.pool, told)

    def service(self, pool: str) -> str:
        """Return the version of our part of the work that `pool` has."""
        told = self._told.get(pool)
        return told.service if told is not None else self._own

    def described(self) -> list[CompilerDescription]:
        """Return what is known of compilers."""
        return [told.description for told in self._told.values() if told.description is not None]
