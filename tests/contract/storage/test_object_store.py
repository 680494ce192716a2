"""What every object store must do: the shipped fake and the real adapters, one suite.

S3 is a real server; see `tests.services.running`.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import keys
from storage.directory import DirectoryStore
from storage.keys import Key
from storage.memory import MemoryStore
from storage.port import AgedStore, ObjectInfo, ObjectNotFound, ObjectStore
from storage.retention import sweep
from tinymlaas.contract.errors import StoreError, UsageError

Request = pytest.FixtureRequest
STORES: dict[str, Callable[[Path, Request], ObjectStore]] = {
    "memory": lambda _path, _request: MemoryStore(),
    "directory": lambda path, _request: DirectoryStore(path),
    "s3": lambda _path, request: request.getfixturevalue("s3_store"),
}
OUTCOME = keys.action_outcome("cc", "0" * 64)
BLOB = keys.blob_of(b"data")


@pytest.fixture(params=sorted(STORES))
def store(request: Request, tmp_path: Path) -> ObjectStore:
    return STORES[request.param](tmp_path / "store", request)


def test_what_is_put_is_got(store: ObjectStore) -> None:
    for data in (b"", b"x", bytes(range(256)) * 5000):
        key = keys.blob_of(data)
        store.put(key, data)
        assert store.get(key) == data
        assert store.head(key) == ObjectInfo(key, len(data))


def test_put_twice_changes_nothing(store: ObjectStore) -> None:
    key = keys.blob_of(b"data")
    store.put(key, b"data")
    store.put(key, b"data")
    assert list(store.list()) == [ObjectInfo(key, 4)]


def test_content_addressed_keys_take_no_other_bytes(store: ObjectStore) -> None:
    key = keys.blob_of(b"data")
    for write in (store.put, store.put_if_absent):
        with pytest.raises(StoreError, match="SHA-256"):
            write(key, b"other")
    assert store.head(key) is None


def test_put_needs_a_content_addressed_key(store: ObjectStore) -> None:
    with pytest.raises(StoreError, match="put_if_absent"):
        store.put(OUTCOME, b"{}")
    assert store.head(OUTCOME) is None


def test_the_first_of_two_writers_wins(store: ObjectStore) -> None:
    assert store.put_if_absent(OUTCOME, b"first") is True
    assert store.put_if_absent(OUTCOME, b"second") is False
    assert store.get(OUTCOME) == b"first"


def test_of_writers_at_once_exactly_one_wins(store: ObjectStore) -> None:
    for round_ in range(3):
        key = keys.action_outcome("cc", f"{round_:064x}")
        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(lambda n, k=key: store.put_if_absent(k, b"%d" % n), range(4)))
        assert won.count(True) == 1
        assert store.get(key) == b"%d" % won.index(True)


def test_put_if_absent_also_takes_content_addressed_keys(store: ObjectStore) -> None:
    key = keys.blob_of(b"data")
    assert store.put_if_absent(key, b"data") is True
    assert store.put_if_absent(key, b"data") is False


def test_what_is_missing_is_said_to_be_missing(store: ObjectStore) -> None:
    assert store.head(OUTCOME) is None
    assert store.delete(OUTCOME) is False
    with pytest.raises(ObjectNotFound, match=OUTCOME.path):
        store.get(OUTCOME)


def test_deleted_objects_are_gone_and_may_return(store: ObjectStore) -> None:
    store.put_if_absent(OUTCOME, b"first")
    assert store.delete(OUTCOME) is True
    assert store.head(OUTCOME) is None
    assert list(store.list()) == []
    assert store.put_if_absent(OUTCOME, b"second") is True
    assert store.get(OUTCOME) == b"second"


def test_list_gives_the_prefix_in_order(store: ObjectStore) -> None:
    blobs = [keys.blob_of(bytes([i])) for i in range(20)]
    outcomes = [keys.action_outcome("cc", f"{i:x}" * 64) for i in range(16)]
    for i, key in enumerate(blobs):
        store.put(key, bytes([i]))
    for key in reversed(outcomes):
        store.put_if_absent(key, b"{}")
    assert [info.key for info in store.list()] == sorted(blobs + outcomes)
    assert [info.key for info in store.list("actions/")] == outcomes
    assert [info.key for info in store.list("actions/cc/3")] == [outcomes[3]]
    assert [info.key for info in store.list(outcomes[5].path)] == [outcomes[5]]
    assert [info.size for info in store.list("blobs/sha256/")] == [1] * 20
    assert list(store.list("modules/")) == []
    assert list(store.list("action")) == list(store.list("actions/"))
    assert list(store.list(outcomes[5].path + "/")) == []


@pytest.mark.parametrize("prefix", ["/", "../", "actions/../blobs/", "actions//", ".tmp/", "a\n"])
def test_list_refuses_prefixes_that_no_key_has(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(StoreError, match="prefix"):
        store.list(prefix)


def test_the_caller_may_reuse_its_buffer(store: ObjectStore) -> None:
    buffer = bytearray(b"first")
    store.put_if_absent(OUTCOME, buffer)  # type: ignore[arg-type]
    buffer[:] = b"wrong"
    assert store.get(OUTCOME) == b"first"


def later(store: AgedStore) -> datetime:
    """Return a moment after all that was written and before all that will be.

    S3 gives whole seconds, so that may take one; with other stores it is now.
    """
    newest, clock = max(at for _, at in store.aged()), keys.blob_of(b"clock")
    deadline = time.monotonic() + 10
    while True:
        store.put(clock, b"clock")
        now = store.written(clock)
        assert now is not None
        store.delete(clock)
        if now > newest:
            return newest + (now - newest) / 2
        assert time.monotonic() < deadline, "what is written again is no younger"
        time.sleep(0.05)


def test_the_time_of_the_last_write_is_known(store: AgedStore) -> None:
    assert store.written(BLOB) is None
    store.put(BLOB, b"data")
    store.put_if_absent(OUTCOME, b"{}")
    now = datetime.now(UTC)
    first = store.written(BLOB)
    assert first is not None
    assert abs(first - now) < timedelta(minutes=5)
    assert dict(store.aged()) == {info: store.written(info.key) for info in store.list()}
    moment = later(store)
    store.put(BLOB, b"data")
    again = store.written(BLOB)
    assert again is not None
    assert again > moment > first


def test_a_sweep_keeps_what_is_young_and_what_that_needs(store: AgedStore) -> None:
    """The older half is a whole job, the younger an outcome that names the same archive."""
    zip_, model, log = (keys.blob_of(data).sha256 or "" for data in (b"zip", b"model", b"log"))
    signed = base64.b64encode(b'{"subject": "%s"}' % model.encode())
    old_outcome = keys.action_outcome("cc", "1" * 64)
    other = keys.blob_of(b"other").sha256 or ""
    lonely = [keys.blob(log), old_outcome, keys.module_envelope(other, "e" * 64)]
    chain = [
        keys.blob(model),
        keys.module_archive(zip_),
        keys.module_envelope(zip_, "e" * 64),
    ]
    store.put(chain[0], b"model")
    store.put(chain[1], b"zip")
    store.put_if_absent(chain[2], b'{"payload": "%s"}' % signed)
    store.put(lonely[0], b"log")
    store.put_if_absent(lonely[2], b"{}")  # by the same signer, of a module that nobody needs
    store.put_if_absent(
        old_outcome, b'{"archive": "%s", "log": "%s"}' % (zip_.encode(), log.encode())
    )
    between = later(store)
    young = keys.action_outcome("cc", "2" * 64)
    store.put_if_absent(young, b'{"archive_digest": "%s"}' % zip_.encode())
    hour = timedelta(hours=1)
    found = sweep(store, hour, between + hour, dry_run=True)
    assert found.removed == (
        old_outcome,
        lonely[2],
        keys.blob(log),
    )  # who refers goes before what is meant
    assert len(list(store.list())) == 7
    assert sweep(store, hour, between + hour) == found
    assert (found.kept, found.removed_bytes > 3) == (4, True)
    assert [info.key for info in store.list()] == sorted([*chain, young])
    last = sweep(store, hour, datetime.now(UTC) + timedelta(hours=2))
    assert last.kept == 0
    assert list(store.list()) == []
    with pytest.raises(UsageError, match="older-than"):
        sweep(store, timedelta(minutes=1), between)


def test_every_key_function_can_be_stored_and_listed(store: ObjectStore) -> None:
    digest = "d" * 64
    named: list[Key] = [
        keys.action_outcome("cc", digest),
        keys.model_summary(digest, "inspect-1.2"),
        keys.module_envelope(digest, "e" * 64),
    ]
    for key in named:
        assert store.put_if_absent(key, b"data") is True
    module = keys.module_archive(keys.blob_of(b"zip").sha256 or "")
    store.put(module, b"zip")
    assert [info.key for info in store.list()] == sorted([*named, module])
