"""Whether what should turn has stood still for so long that it will not turn again."""

from __future__ import annotations

SECONDS = 60.0
_AWAY_SECONDS = 10.0  # between two looks: then it was we who stood still


class Patience:
    """Counts only time in which the broker was there and we looked; times as of one clock."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """Be patient for `seconds`."""
        self._seconds = seconds
        self._looked: float | None = None
        self._good_since: float | None = None
        self.is_stuck = False

    def stuck(self, now: float, ready: bool, turned_at: float) -> bool:
        """Return whether what turned last at `turned_at` is stuck; to be asked every second."""
        away = self._looked is None or now - self._looked > _AWAY_SECONDS
        self._looked = now
        if not ready or away:
            self._good_since = None
        if ready and self._good_since is None:
            self._good_since = now
        since = self._good_since
        self.is_stuck = since is not None and now - max(since, turned_at) > self._seconds
        return self.is_stuck
