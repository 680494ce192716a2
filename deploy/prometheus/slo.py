"""What the farm promises, and when its error budget burns too fast.

Alerts on burn rates over two windows are those of The Site Reliability Workbook (Beyer et al.,
2018), chapter 5, "Alerting on SLOs", approach 6.
"""

from __future__ import annotations

from dataclasses import dataclass

PERIOD = "30d"
WAIT_SECONDS = 60
LEAST_EVENTS = 10  # in the long window: one of three jobs that fails is no trend

# (budget spent as many times too fast, long window, short window)
FAST = ((14.4, "1h", "5m"), (6.0, "6h", "30m"))
SLOW = ((3.0, "1d", "2h"), (1.0, "3d", "6h"))
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", PERIOD)


@dataclass(frozen=True)
class Slo:
    """A promise: the share of good events of all is `objective` or more within `PERIOD`.

    `bad` and `all` are rates over a window, which is put in place of ``WINDOW``.
    """

    name: str
    title: str
    objective: float
    bad: str
    all: str

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return round(1 - self.objective, 6)

    def ratio(self, window: str) -> str:
        """Return the share of bad events within `window`, as PromQL."""
        return f"({self.bad})\n/\n({self.all})".replace("WINDOW", window)

    def events(self, window: str) -> str:
        """Return how many events there were within `window`, as PromQL."""
        return self.all.replace("rate(", "increase(").replace("WINDOW", window)


JOBS = Slo(
    "jobs",
    "Jobs end well: neither failed nor quarantined (cancelled ones do not count)",
    0.99,
    'sum(rate(tinymlaas_jobs_ended_total{state=~"failed|quarantined"}[WINDOW]))',
    'sum(rate(tinymlaas_jobs_ended_total{state!="cancelled"}[WINDOW]))',
)
WAIT = Slo(
    "wait",
    f"Jobs have their turn within {WAIT_SECONDS} s",
    0.95,
    "sum(rate(tinymlaas_job_wait_seconds_count[WINDOW])) - "
    f'sum(rate(tinymlaas_job_wait_seconds_bucket{{le="{WAIT_SECONDS}.0"}}[WINDOW]))',
    "sum(rate(tinymlaas_job_wait_seconds_count[WINDOW]))",
)
SLOS = (JOBS, WAIT)
