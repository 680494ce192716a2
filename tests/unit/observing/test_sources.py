"""Where the numbers come from: store, signer, publisher and sandbox tell what happens to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.errors import BrokerUnavailable, NotRouted
from broker.farm import FarmPublisher
from broker.publisher import Confirmed, Message
from storage import keys
from storage.directory import DirectoryStore
from storage.memory import MemoryStore
from storage.observed import ObservedStore
from storage.port import ObjectDamaged, ObjectNotFound, StoreUnavailable
from storage.signing import LocalSigner
from tinymlaas.contract.errors import CompilerCrashed, RetryableFailure
from tinymlaas.contract.progress import Silent
from workers import sandbox
from workers.build import Workbench
from workers.compilers.registry import Registry
from workers.notes import Note, What, noted
from workers.sandbox import Step


class Told:
    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []

    def __call__(self, operation: str, fault: str | None, seconds: float) -> None:
        assert seconds >= 0
        self.requests.append((operation, fault))


def test_every_request_to_a_store_is_told() -> None:
    told = Told()
    store = ObservedStore(MemoryStore(), told)
    key = keys.blob_of(b"x")
    store.put(key, b"x")
    assert store.get(key) == b"x"
    assert store.head(key) is not None
    assert len([*store.list("blobs/")]) == 1
    assert store.delete(key)
    assert store.put_if_absent(key, b"x")
    operations = ["put", "get", "head", "list", "delete", "put_if_absent"]
    assert told.requests == [(each, None) for each in operations]


def test_what_is_not_there_is_an_answer_and_what_is_damaged_is_a_fault(tmp_path: Path) -> None:
    told = Told()
    store = ObservedStore(DirectoryStore(tmp_path), told)
    key = keys.blob_of(b"x")
    with pytest.raises(ObjectNotFound):
        store.get(key)
    store.put(key, b"x")
    (tmp_path / key.path).write_bytes(b"y")
    with pytest.raises(ObjectDamaged):
        store.get(key)
    assert told.requests == [("get", None), ("put", None), ("get", "damaged")]


class Away(MemoryStore):
    def head(self, key):
        raise StoreUnavailable("it is away")


def test_a_store_that_is_away_is_a_fault() -> None:
    told = Told()
    with pytest.raises(StoreUnavailable):
        ObservedStore(Away(), told).head(keys.blob_of(b"x"))
    assert told.requests == [("head", "unavailable")]


class Mute:
    """A signer that does not answer."""

    public_key = LocalSigner.generate().public_key

    def sign(self, data: bytes) -> bytes:
        raise RetryableFailure("the signer does not answer")


def bench(signer, folder: Path) -> Workbench:
    return Workbench(Registry({}, {}), MemoryStore(), signer, folder, Silent())


def test_signatures_are_told_made_or_failed(tmp_path: Path) -> None:
    notes: list[Note] = []
    noted(bench(LocalSigner.generate(), tmp_path), notes.append).signer.sign(b"data")
    with pytest.raises(RetryableFailure):
        noted(bench(Mute(), tmp_path), notes.append).signer.sign(b"data")
    assert [(note.what, note.name) for note in notes] == [
        (What.SIGNATURE, "made"),
        (What.SIGNATURE, "failed"),
    ]


def test_what_the_sandbox_stops_is_told_with_its_step_and_reason() -> None:
    stops: list[tuple[Step, str]] = []
    sandbox.on_stop(lambda step, reason: stops.append((step, reason)))
    try:
        with pytest.raises(CompilerCrashed, match="took longer than 1 s"):
            _call("time:sleep", 30, seconds=1)
        with pytest.raises(CompilerCrashed, match="SIGSEGV"):
            _call("ctypes:string_at", 0)
        with pytest.raises(CompilerCrashed, match="crashed"):
            _call("os:rmdir", "nowhere")
        _call("workers.sandbox.inside:nothing")
    finally:
        sandbox.on_stop(lambda step, reason: None)
    assert stops == [(Step.LINK, "time"), (Step.LINK, "signal"), (Step.LINK, "crash")]


def _call(function: str, *args: object, seconds: float | None = None) -> None:
    sandbox.call(function, *args, returns=None, step=Step.LINK, what="a test", seconds=seconds)


class Broker:
    """Says of each message that must arrive what it was made to say."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def publish(self, message: Message, confirmed: Confirmed | None = None) -> None:
        if confirmed is not None:
            confirmed(self.error)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "taken"),
        (NotRouted("no queue"), "returned"),
        (BrokerUnavailable("full"), "refused"),
    ],
)
def test_what_the_broker_says_of_messages_is_told(error: Exception | None, outcome: str) -> None:
    told: list[tuple[str, str]] = []
    answers: list[Exception | None] = []
    publisher = FarmPublisher(
        Broker(error),
        observe=lambda to, what: told.append((to, what)),  # type: ignore[arg-type]
    )
    publisher.send("tvm", b'{"id": "1"}', answers.append)
    publisher.outcome(b"{}", answers.append)
    publisher.reply("reply.me", b"{}", answers.append)
    publisher.publish("a.1.done", b"{}", answers.append)
    kinds = ("task", "outcome", "reply", "result")
    assert told == [(kind, outcome) for kind in kinds]
    assert answers[:3] == [error] * 3
    assert answers[3] is (None if outcome == "returned" else error), "nobody need listen"
    publisher.publish("a.1.planning", b"{}")
    publisher.seen(b"{}")
    assert len(told) == len(kinds), "what may be lost is not counted"
