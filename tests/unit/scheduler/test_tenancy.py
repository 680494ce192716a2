"""Tenants share work by proof, never by name; and know nothing of one another."""

from __future__ import annotations

import pytest

from scheduler.intake import Intake
from scheduler.library import StoreLibrary
from scheduler.ports import Delivery, NotRemembered, Token
from storage import keys
from storage.memory import MemoryStore
from tests.unit.scheduler.world import SERVICE, World, request
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.jobs import Inspection, Outcome
from tinymlaas.contract.messages import (
    CancelRequested,
    CompileOrder,
    JobEnd,
    JobEnded,
    JobName,
    JobState,
    Payload,
    StatusAsked,
    reference,
)
from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    CompileResult,
    ResultStatus,
)

MODEL = b"m"
DIGEST = sha256(MODEL)


def by_reference(tenant: str) -> CompileOrder:
    order = request(tenant, "1").data
    payload = Payload(digest=DIGEST, reference=reference(tenant, DIGEST), filename="model")
    return order.model_copy(update={"model": payload})


def uploaded(*tenants: str) -> tuple[MemoryStore, StoreLibrary]:
    store = MemoryStore()
    for tenant in tenants:
        store.put(keys.tenant_blob(tenant, DIGEST), MODEL)
    return store, StoreLibrary(store)


def test_a_digest_is_no_proof_whoever_else_has_the_file() -> None:
    _, nobody = uploaded()
    store, others = uploaded("acme")
    others.look("acme", "1", by_reference("acme"), SERVICE)  # theirs is worked on, and shared
    assert store.get(keys.blob(DIGEST)) == MODEL
    asked = ("rival", "1", by_reference("rival"), SERVICE)
    assert others.look(*asked) == nobody.look(*asked), "no telling what others have"
    assert others.look(*asked).missing


def test_other_bytes_in_the_place_of_a_digest_are_no_proof() -> None:
    store, library = uploaded("acme")
    library.look("acme", "1", by_reference("acme"), SERVICE)
    for forged in (b"", b"x", MODEL * 2):
        store._objects[keys.tenant_blob("rival", DIGEST)] = forged
        asked = ("rival", "1", by_reference("rival"), SERVICE)
        _, nobody = uploaded()
        assert library.look(*asked) == nobody.look(*asked)
    assert store.get(keys.blob(DIGEST)) == MODEL, "what workers read is what acme has"


def test_who_has_the_bytes_shares_the_work() -> None:
    store, library = uploaded("acme", "rival")
    assert not library.look("acme", "1", by_reference("acme"), SERVICE).missing
    assert not library.look("rival", "1", by_reference("rival"), SERVICE).missing
    assert store.get(keys.blob(DIGEST)) == MODEL


def test_what_was_seen_in_a_cached_job_costs_no_copy() -> None:
    """Workers are handed no file where nothing has to be inspected, quantised or judged."""
    store, library = uploaded("acme")
    found = Inspection.model_construct()
    library._inspection = lambda model, facts: found  # type: ignore[method-assign]
    assert library.look("acme", "1", by_reference("acme"), SERVICE).inspection is found
    assert store.head(keys.blob(DIGEST)) is None


def test_what_is_remembered_is_told_without_the_store_and_proves_no_more() -> None:
    store, library = uploaded("acme")
    memory = library.remembered()
    asked = ("acme", "1", by_reference("acme"), SERVICE)
    with pytest.raises(NotRemembered):
        memory.look(*asked)
    facts = library.look(*asked)  # not inspected yet: a record is asked for each time
    with pytest.raises(NotRemembered):
        memory.look(*asked)
    library.keep("acme", [MODEL])
    store.delete(keys.tenant_blob("acme", DIGEST))
    memory.keep("acme", [MODEL])
    with pytest.raises(NotRemembered):
        memory.keep("rival", [MODEL])
    with pytest.raises(NotRemembered):
        memory.look("rival", "1", by_reference("rival"), SERVICE)
    with pytest.raises(NotRemembered):
        memory.outcomes({DIGEST: "cc"})
    assert library.look(*asked) == facts


def test_a_file_too_large_is_not_read() -> None:
    store, library = uploaded()
    key = keys.tenant_blob("acme", DIGEST)
    store._objects[key] = bytes(64 * 1024 * 1024 + 1)
    store.get = None  # type: ignore[assignment,method-assign]
    assert library.look("acme", "1", by_reference("acme"), SERVICE).missing


def done(tenant: str) -> JobEnded:
    module = keys.given(tenant, keys.module_archive(sha256(b"zip"))).path
    result = CompileResult.model_construct(
        status=ResultStatus.DONE, reasons=(), module=module, candidates=(), chosen=None
    )
    end = JobEnd.model_construct(
        tenant=tenant,
        job_id="1",
        state=JobState.DONE,
        reasons=(),
        result=result,
        log=sha256(b"log"),
        order=None,
        board=None,
    )
    return JobEnded.model_construct(
        specversion="1.0", id="end", source="t", type=JobEnded.TYPE, data=end
    )


def test_an_ended_job_gives_its_tenant_module_provenance_and_log() -> None:
    store, library = uploaded()
    archive = keys.module_archive(sha256(b"zip"))
    store.put(archive, b"zip")
    for key in "ab":
        store.put_if_absent(keys.module_envelope(sha256(b"zip"), key * 64), key.encode())
    store.put(keys.blob_of(b"log"), b"log")
    library.save(done("acme"))
    assert store.get(keys.given("acme", archive)) == b"zip"
    for key in "ab":
        envelope = keys.module_envelope(sha256(b"zip"), key * 64)
        assert store.get(keys.given("acme", envelope)) == key.encode()
    assert store.get(keys.tenant_log("acme", sha256(b"log"))) == b"log"
    assert not list(store.list("tenants/rival/"))


def test_after_a_rotation_the_new_envelope_is_given_too() -> None:
    store = MemoryStore()
    signing = ["a" * 64]
    library = StoreLibrary(store, signers=lambda pool: signing)
    archive, digest = keys.module_archive(sha256(b"zip")), sha256(b"zip")
    store.put(archive, b"zip")
    store.put_if_absent(keys.module_envelope(digest, "a" * 64), b"old")
    stored = outcome(module_digest=digest).model_copy(update={"archive_digest": digest})
    place = keys.action_outcome("cc", "a" * 64)
    store.put_if_absent(place, stored.model_dump_json().encode())
    library.save(done("acme"))
    signing[:] = ["b" * 64]
    assert not library.outcomes({"a" * 64: "cc"}), "to be signed anew"
    store.put_if_absent(keys.module_envelope(digest, "b" * 64), b"new")
    assert library.outcomes({"a" * 64: "cc"})
    library.save(done("acme").model_copy(update={"data": done("acme").data}))
    given = keys.given("acme", keys.module_envelope(digest, "b" * 64))
    assert store.get(given) == b"new"


def test_a_module_that_was_lost_is_not_given_and_the_job_ends_all_the_same() -> None:
    store, library = uploaded()
    library.save(done("acme"))
    assert not list(store.list("tenants/"))
    assert library.record("acme", "1") is not None or store.head(keys.job_result("acme", "1"))


@pytest.mark.parametrize("sender", ["rival", "", "acme.more"])
def test_nobody_speaks_for_another_tenant(sender: str) -> None:
    world = World()
    world.submit(request("acme", "1"))
    world.settle()
    intake = Intake(world.core)
    name = JobName(tenant="acme", job_id="1", reply="reply.x")
    for number, event in enumerate(
        (CancelRequested(id="c", source="t", data=name), StatusAsked(id="q", source="t", data=name))
    ):
        token = Token("control", 1, 1000 + number)
        intake.control(Delivery(token, event.encoded(), sender=sender))
    effects = [type(each).__name__ for each in world.core.drain()]
    assert effects.count("DeadLetter") == 2
    assert "Answer" not in effects
    assert "Announce" not in effects
    assert len(world.core) == 1, "the job goes on"
    world.run()


def test_an_order_sent_as_another_tenant_is_none() -> None:
    world = World()
    order = request("acme", "1")
    world.core.request(Delivery(Token("requests", 1, 1), order.encoded(), "reply.x", "rival"))
    refused = [each for each in world.core.drain() if type(each).__name__ == "Refuse"]
    assert len(refused) == 1
    assert len(world.core) == 0
    world.core.request(Delivery(Token("requests", 1, 2), order.encoded(), "reply.x", "acme"))
    assert len(world.core) == 1


def test_the_same_id_of_two_tenants_is_two_jobs() -> None:
    world = World()
    world.submit(request("acme", "1"))
    world.submit(request("rival", "1"))
    world.settle()
    name = JobName(tenant="rival", job_id="1")
    world.core.cancel(name, Token("control", 1, 9))
    world.run()
    assert {(e.data.tenant, e.data.state) for e in world.events} == {
        ("acme", JobState.DONE),
        ("rival", JobState.CANCELLED),
    }


def test_who_asks_for_the_queue_is_told_of_its_own_jobs() -> None:
    from scheduler.overview import overview

    world = World()
    for tenant in ("acme", "rival"):
        world.submit(request(tenant, "1"))
    world.settle()
    assert [each.tenant for each in overview(world.core, "rival").tenants] == ["rival"]
    assert [each.tenant for each in overview(world.core).tenants] == ["acme", "rival"]
    assert overview(world.core, "nobody").tenants == ()


def outcome(**changes: object) -> Outcome:
    named: dict[str, object] = {
        "compiler": "cc",
        "kernels": "k",
        "status": CandidateStatus.BUILT,
        "action_digest": "a" * 64,
    }
    return Outcome(report=CandidateReport.model_validate({**named, **changes}))


@pytest.mark.parametrize(
    ("stored", "counts"),
    [
        (outcome(), True),
        (outcome(compiler="tvm"), False),
        (outcome(action_digest="b" * 64), False),
        (outcome(module_digest="c" * 64), False),
    ],
)
def test_an_outcome_counts_where_it_says_what_its_place_does(stored: Outcome, counts: bool) -> None:
    store, library = uploaded()
    key = keys.action_outcome("cc", "a" * 64)
    assert store.put_if_absent(key, stored.model_dump_json().encode())
    assert bool(library.outcomes({"a" * 64: "cc"})) is counts
    assert not library.outcomes({"a" * 64: "tvm"}), "another pool's place"
