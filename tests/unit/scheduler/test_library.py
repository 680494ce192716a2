"""The scheduler's view of the store, where that holds what nobody can read."""

from __future__ import annotations

import pytest

from scheduler.library import StoreLibrary
from storage import keys
from storage.memory import MemoryStore
from tests.unit.scheduler.world import SERVICE, request
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import StoreError
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.messages import JobEnd, JobEnded, JobState
from tinymlaas.contract.report import CandidateReport, CandidateStatus

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


def test_a_module_that_only_a_key_before_signed_is_given_to_a_worker_again() -> None:
    """Else nobody could verify it any more: the worker signs it anew, and builds nothing."""
    store, archive, old, new = MemoryStore(), b"archive", "0" * 64, "1" * 64
    action, digest = "a" * 64, sha256(archive)
    report = CandidateReport(
        compiler="tvm",
        kernels="",
        status=CandidateStatus.VERIFIED,
        action_digest=action,
        module_digest=digest,
    )
    outcome = Outcome(report=report, archive_digest=digest)
    store.put_if_absent(keys.action_outcome("tvm", action), outcome.model_dump_json().encode())
    store.put(keys.module_archive(digest), archive)
    store.put_if_absent(keys.module_envelope(digest, old), b"by the old key")

    def found(*signers: str) -> bool:
        library = StoreLibrary(store, signers=lambda pool: signers if pool == "tvm" else ())
        return action in library.outcomes({action: "tvm"})

    assert action in StoreLibrary(store).outcomes({action: "tvm"})
    assert found()  # no key of the pool is known
    assert found(old)
    assert not found(new)
    store.put_if_absent(keys.module_envelope(digest, new), b"by the new key")
    assert found(new)
