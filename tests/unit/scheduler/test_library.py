"""The scheduler's view of the store, where that holds what nobody can read."""

from __future__ import annotations

import pytest

from scheduler.library import StoreLibrary
from storage import keys
from storage.memory import MemoryStore
from tests.unit.scheduler.world import SERVICE, request
from tinymlaas.contract.errors import StoreError
from tinymlaas.contract.messages import JobEnd, JobEnded, JobState

RECORD = JobEnded(
    id="end", source="test", data=JobEnd(tenant="a", job_id="1", state=JobState.CANCELLED)
)


@pytest.mark.parametrize("damage", [b"", b"{", RECORD.encoded().replace(b'"board"', b'"plank"')])
def test_a_record_that_cannot_be_read_is_none_and_is_written_anew(damage: bytes) -> None:
    """Asked for again and again, it would hold one of the few places where jobs are planned."""
    store = MemoryStore()
    assert store.put_if_absent(keys.job_result("a", "1"), damage)
    order = request("a", "1").data
    store.put(keys.tenant_blob("a", order.model.digest), b"m")
    library = StoreLibrary(store)
    assert library.record("a", "1") is None
    facts = library.look("a", "1", order, SERVICE)
    assert (facts.missing, facts.record) == ((), None)
    with pytest.raises(StoreError, match="written anew"):
        library.save(RECORD)
    assert library.save(RECORD) == RECORD
    assert library.record("a", "1") == RECORD


def test_the_first_end_of_a_job_stands() -> None:
    library = StoreLibrary(MemoryStore())
    assert library.save(RECORD) == RECORD
    other = RECORD.data.model_copy(update={"state": JobState.DONE})
    assert library.save(RECORD.model_copy(update={"data": other})) == RECORD
