"""What a client remembers is bounded, and a closed one says so."""

from __future__ import annotations

import time

import pytest

from tinymlaas.client.ends import Ends
from tinymlaas.client.lines import Lines
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.messages import JobEnd, JobEnded, JobState


def end(job_id: str) -> bytes:
    data = JobEnd(
        tenant="a",
        job_id=job_id,
        state=JobState.FAILED,
        reasons=("x" * 900,),
    )
    return JobEnded(id=f"a-{job_id}", source="s", data=data).encoded()


def test_the_latest_ends_are_kept_up_to_so_many_bytes() -> None:
    ends = Ends(10_000)
    for number in range(100):
        ends.put(("a", f"{number}"), end(f"{number}"))
    assert 5_000 < ends.size <= 10_000
    found = ends.get(("a", "99"))
    assert found is not None
    assert found.data.job_id == "99"
    assert ("a", "0") not in ends
    assert ends.get(("a", "0")) is None
    ends.forget(("a", "99"))
    assert ends.get(("a", "99")) is None


def test_a_closed_client_says_so_at_once() -> None:
    lines = Lines("amqp://127.0.0.1:1/", "", 30.0)
    lines.close()
    began = time.monotonic()
    with pytest.raises(UsageError, match="closed"), lines.hearing(("a", "1"), events=True):
        pass
    assert time.monotonic() - began < 20
