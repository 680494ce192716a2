"""What the directory adapter owes beyond the port: privacy, crashes, concurrent processes."""

from __future__ import annotations

import os
import random
import stat
import time
from collections import Counter
from pathlib import Path

import pytest

from storage import keys
from storage.directory import DirectoryStore
from storage.port import ObjectDamaged
from tests.unit.storage import processes
from tinymlaas.contract.errors import StoreError

OUTCOME = keys.action_outcome("cc", "1" * 64)
BLOB = keys.blob_of(b"data")


def test_folders_and_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = DirectoryStore(tmp_path / "a" / "store")
        store.put(BLOB, b"data")
        store.put_if_absent(OUTCOME, b"{}")
    finally:
        os.umask(before)
    for path in [tmp_path / "a" / "store", *(tmp_path / "a" / "store").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_damage_is_noticed_on_read_and_repaired_by_put(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put(BLOB, b"data")
    store.path(BLOB).write_bytes(b"dat4")
    with pytest.raises(ObjectDamaged, match=BLOB.path):
        store.get(BLOB)
    store.put(BLOB, b"data")
    assert store.get(BLOB) == b"data"


def test_links_are_not_followed(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    store.path(OUTCOME).parent.mkdir(parents=True)
    store.path(OUTCOME).symlink_to(secret)
    with pytest.raises(StoreError):
        store.get(OUTCOME)
    assert store.head(OUTCOME) is None
    assert list(store.list()) == []


def test_foreign_files_are_passed_over(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put(BLOB, b"data")
    (tmp_path / "README").write_text("mine")
    (store.path(BLOB).parent / "notes.txt").write_text("mine")
    assert [info.key for info in store.list()] == [BLOB]


def test_a_root_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=str(tmp_path / "file")):
        DirectoryStore(tmp_path / "file" / "store")
    with pytest.raises(StoreError, match="cannot open"):
        DirectoryStore(tmp_path / "file")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryStore(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        store.put(BLOB, b"data")
    monkeypatch.undo()
    assert list(store.list()) == []
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_stale_temporaries_are_removed_and_fresh_ones_kept(tmp_path: Path) -> None:
    DirectoryStore(tmp_path)
    old, fresh = tmp_path / ".tmp" / "1-a.tmp", tmp_path / ".tmp" / "2-b.tmp"
    old.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    DirectoryStore(tmp_path)
    assert [path.name for path in (tmp_path / ".tmp").iterdir()] == [fresh.name]


_HANG = """
import os, sys, time
from pathlib import Path
from storage import keys
from storage.directory import DirectoryStore
root, call, method = sys.argv[1:]
store = DirectoryStore(Path(root))
data = b"x" * 100_000
def hang(*args, **named):
    print("there", flush=True)
    time.sleep(600)
setattr(os, call, hang)
if method == "put":
    store.put(keys.blob_of(data), data)
else:
    store.put_if_absent(keys.action_outcome("cc", "1" * 64), data)
"""


@pytest.mark.parametrize(
    ("method", "call"),
    [("put", "fsync"), ("put", "replace"), ("put_if_absent", "fsync"), ("put_if_absent", "link")],
)
def test_a_writer_killed_before_the_end_leaves_no_object(
    tmp_path: Path, method: str, call: str
) -> None:
    DirectoryStore(tmp_path)
    key = OUTCOME if method == "put_if_absent" else keys.blob_of(b"x" * 100_000)
    # The folders exist already, so that the first fsync is that of the temporary file.
    (tmp_path / key.path).parent.mkdir(parents=True)
    process = processes.start(_HANG, tmp_path, call, method)
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    process.kill()
    process.wait()

    assert len(list((tmp_path / ".tmp").iterdir())) == 1  # it did die in the middle
    store = DirectoryStore(tmp_path, stale_seconds=0)
    assert list((tmp_path / ".tmp").iterdir()) == []
    assert list(store.list()) == []
    assert store.head(key) is None
    assert store.put_if_absent(key, b"x" * 100_000) is True


_WRITE = """
import random, sys
from pathlib import Path
from storage import keys
from storage.directory import DirectoryStore
root, seed = sys.argv[1:]
store, source = DirectoryStore(Path(root)), random.Random(int(seed))
while True:
    data = source.randbytes(2_000_000)
    key = keys.blob_of(data)
    store.put(key, data)
    print(key.path, flush=True)
"""


def test_writers_killed_at_random_moments_leave_only_whole_objects(tmp_path: Path) -> None:
    moments = random.Random(7)
    said: list[str] = []
    for seed in range(6):
        process = processes.start(_WRITE, tmp_path, seed)
        assert process.stdout is not None
        said.append(process.stdout.readline().strip())
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        said += process.communicate()[0].split()
    store = DirectoryStore(tmp_path, stale_seconds=0)
    found = [info.key for info in store.list()]
    for key in found:
        assert len(store.get(key)) == 2_000_000  # get checks the digest
    assert {path for path in said if len(path) == len(BLOB.path)} <= {key.path for key in found}


_RACE = """
import os, sys
from pathlib import Path
from storage import keys
from storage.directory import DirectoryStore
store = DirectoryStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
me = str(os.getpid()).encode()
for i in range(40):
    if store.put_if_absent(keys.action_outcome("cc", f"{i:064x}"), me * 5000):
        print(i, me.decode())
    store.put(keys.blob_of(b"shared %d" % i), b"shared %d" % i)
"""


def test_of_concurrent_processes_exactly_one_wins_each_key(tmp_path: Path) -> None:
    answers = processes.all_at_once(_RACE, 4, tmp_path)
    wins = [line.split() for answer in answers for line in answer.splitlines()]
    assert Counter(int(i) for i, _ in wins) == Counter(range(40))
    store = DirectoryStore(tmp_path)
    for i, winner in wins:
        assert store.get(keys.action_outcome("cc", f"{int(i):064x}")) == winner.encode() * 5000
    assert len(list(store.list("blobs/"))) == 40
    assert list((tmp_path / ".tmp").iterdir()) == []
