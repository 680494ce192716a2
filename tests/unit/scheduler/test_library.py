"""The scheduler's view of the store, where that holds what nobody can read."""

from __future__ import annotations

import pytest

from scheduler import library as library_module
from scheduler.library import StoreLibrary
from storage import keys
from storage.dsse import MAX_ENVELOPE_BYTES
from storage.memory import MemoryStore
from tests.unit.scheduler.world import SERVICE, request
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import StoreError
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.messages import JobEnd, JobEnded, JobState
from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    CompileResult,
    ResultStatus,
)
from tinymlaas.contract.wire import MAX_TRUSTED_BYTES

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


class Reads(MemoryStore):
    """Notes what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[keys.Key] = []

    def get(self, key: keys.Key) -> bytes:
        self.read.append(key)
        return super().get(key)


VAST = bytes(MAX_TRUSTED_BYTES + 1)
ARCHIVE = b"archive"


def _built(**changes: object) -> JobEnded:
    report = CandidateReport(compiler="tvm", kernels="", status=CandidateStatus.VERIFIED)
    module = keys.given("a", keys.module_archive(sha256(ARCHIVE))).path
    result = CompileResult(status=ResultStatus.DONE, module=module, chosen=0, candidates=(report,))
    end = {**dict(RECORD.data), "state": JobState.DONE, "result": result, **changes}
    return RECORD.model_copy(update={"data": JobEnd.model_validate(end)})


def test_what_a_worker_could_not_have_told_is_not_read() -> None:
    store = Reads()
    store.put_if_absent(keys.action_outcome("tvm", "a" * 64), VAST)
    store.put(keys.blob_of(VAST), VAST)
    library = StoreLibrary(store)
    assert not library.outcomes({"a" * 64: "tvm"})
    library.save(_built(log=sha256(VAST), result=None))
    summary = keys.model_summary("b" * 64, "c" * 40)
    store.put_if_absent(summary, VAST)
    assert library._inspection("b" * 64, "c" * 40) is None
    assert not store.read


def test_of_what_lies_beside_a_module_its_tenant_is_given_what_its_pool_has_signed() -> None:
    store, digest = Reads(), sha256(ARCHIVE)
    store.put(keys.module_archive(digest), ARCHIVE)
    ours, vast, forged = "1" * 64, "2" * 64, "0" * 64
    for fingerprint in (ours, forged):
        store.put_if_absent(keys.module_envelope(digest, fingerprint), b"an envelope")
    store.put_if_absent(keys.module_envelope(digest, vast), bytes(MAX_ENVELOPE_BYTES + 1))
    known = {"tvm": {ours, vast, "3" * 64}, "tflm": {forged}}
    StoreLibrary(store, signers=lambda pool: known.get(pool, ())).save(_built())
    given = {info.key for info in store.list("tenants/a/modules/")}
    wanted = (keys.module_archive(digest), keys.module_envelope(digest, ours))
    assert given == {keys.given("a", each) for each in wanted}


def test_where_no_key_is_known_not_all_that_lies_beside_a_module_is_given() -> None:
    store, digest = Reads(), sha256(ARCHIVE)
    store.put(keys.module_archive(digest), ARCHIVE)
    for number in range(100):
        store.put_if_absent(keys.module_envelope(digest, f"{number:064x}"), b"an envelope")
    StoreLibrary(store).save(_built())
    assert len(list(store.list(f"tenants/a/modules/{digest}/provenance/"))) == 64


def test_an_archive_that_nobody_would_read_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "MAX_ARCHIVE_BYTES", len(ARCHIVE) - 1)
    store = Reads()
    store.put(keys.module_archive(sha256(ARCHIVE)), ARCHIVE)
    StoreLibrary(store).save(_built())
    assert not store.read
    assert not list(store.list("tenants/"))


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
