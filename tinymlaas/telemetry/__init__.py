"""The metrics of the farm: every name in this one place, in base units, no label of a single job.

`table` says which there are; a process makes one of the classes here and tells it what happens;
`page` is what is scraped. Tenants are told apart by their class only (`tinymlaas.farm.policy`), of
which there are few.
"""

from tinymlaas.telemetry.scheduler import SchedulerMetrics
from tinymlaas.telemetry.table import METRICS, Kind, Metric, Process
from tinymlaas.telemetry.worker import WorkerMetrics, outcome_of

__all__ = [
    "METRICS",
    "Kind",
    "Metric",
    "Process",
    "SchedulerMetrics",
    "WorkerMetrics",
    "outcome_of",
]
