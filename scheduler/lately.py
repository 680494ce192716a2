"""The jobs that ended last, in short: for who looks, and no record of anything."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from scheduler.effects import Key
from tinymlaas.contract.messages import JobEnd, JobState
from tinymlaas.contract.queue_messages import MOST_LISTED, EndLine
from tinymlaas.contract.report import name_of

_REASON = 200  # characters


class _Short(NamedTuple):
    """What is kept of a record: the record itself holds a hundred times as much."""

    name: str
    board: str | None
    candidate: str | None
    reason: str


class Lately:
    """The last ends, each noted once its record is kept and published."""

    def __init__(self) -> None:
        self._ending: dict[Key, _Short] = {}
        self._ended: deque[tuple[Key, JobState, datetime, float, _Short]] = deque(
            maxlen=MOST_LISTED
        )

    def forget_unfinished(self) -> None:
        """Let go of ends that are not kept yet; their jobs come again."""
        self._ending.clear()

    def ending(self, key: Key, end: JobEnd) -> None:
        """Take note of how a job is about to end."""
        result = end.result
        chosen = result.candidates[result.chosen] if result and result.chosen is not None else None
        reasons = end.reasons or (result.reasons if result else ())
        self._ending[key] = _Short(
            end.order.name if end.order else "",
            end.board,
            name_of(chosen) if chosen else None,
            reasons[0][:_REASON] if reasons else "",
        )

    def ended(self, key: Key, state: JobState, time: datetime, seconds: float) -> None:
        """Take note that it has ended at `time`, in `seconds`, as `state` says. One that is told
        again, as its request was sent again, ended before.
        """
        short = self._ending.pop(key, None)
        if short is not None and all(each[0] != key for each in self._ended):
            self._ended.append((key, state, time, seconds, short))

    def lines(self, most: int, of: str | None = None) -> Iterator[EndLine]:
        """Yield the last `most`, the latest first, of all tenants or of one."""
        for (tenant, job_id), state, time, seconds, short in reversed(self._ended):
            if most <= 0:
                return
            if of in {None, tenant}:
                most -= 1
                facts = short._asdict()
                yield EndLine(
                    tenant=tenant, job_id=job_id, state=state, time=time, seconds=seconds, **facts
                )
