"""Nothing is lost and nothing is done twice, whatever is killed; and a scheduler is replaced."""

from __future__ import annotations

import os
import secrets

import pytest

from tests.integration.chaos.chaos import FULL, SMALL, run

# One that failed can be had again by this variable.
SEED = int(os.environ.get("TINYMLAAS_TEST_SEED") or secrets.randbelow(10**6))


def test_killed_at_random_every_job_ends_once() -> None:
    assert run(SMALL, SEED).problems == []


@pytest.mark.slow
def test_three_hundred_jobs_end_once() -> None:
    assert run(FULL, SEED).problems == []
