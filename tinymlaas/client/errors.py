"""What a client is told when it cannot be served."""

from __future__ import annotations

from tinymlaas.contract.errors import Failure, Rejection, RetryableFailure


class UnknownJob(Rejection):
    """Neither the store nor the scheduler knows the job."""


class Refused(Rejection):
    """The scheduler did not take the request as a job; the reasons say why."""


class NoModule(Rejection):
    """The job has ended, or not yet, and there is no module to fetch."""


class NoScheduler(RetryableFailure):
    """No scheduler answers. What was sent waits for one."""


class NotFinished(RetryableFailure):
    """The job has not ended within the time given; it goes on."""


class JobLost(Failure):
    """A record in the store cannot be read as one."""
