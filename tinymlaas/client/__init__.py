"""The farm from Python: ``from tinymlaas import Client``."""

from tinymlaas.client.client import Client, Job
from tinymlaas.client.errors import (
    JobLost,
    NoModule,
    NoScheduler,
    NotFinished,
    Refused,
    UnknownJob,
)
from tinymlaas.client.orders import Wish
from tinymlaas.contract.job_status import FetchedModule, JobStatus

__all__ = [
    "Client",
    "FetchedModule",
    "Job",
    "JobLost",
    "JobStatus",
    "NoModule",
    "NoScheduler",
    "NotFinished",
    "Refused",
    "UnknownJob",
    "Wish",
]
