from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from storage import key_folder
from storage.key_folder import public_key_of, public_keys, signing_key
from storage.provenance import LOCAL_BUILDER, pool_builder
from storage.signing import LocalSigner, load_public_key
from tests.unit.storage import processes
from tinymlaas.contract.errors import StoreError, UsageError

TVM = pool_builder("tvm")


def test_development_key_is_made_once_and_private(tmp_path: Path) -> None:
    first = signing_key(tmp_path / "keys")
    assert first.created
    assert stat.S_IMODE(first.private_path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert first.private_path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    second = signing_key(tmp_path / "keys")
    assert not second.created
    assert second.signer.public_key == first.signer.public_key
    assert load_public_key(first.public_path.read_bytes()) == first.signer.public_key
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [
        first.private_path.name,
        first.public_path.name,
    ]


def test_the_public_file_follows_the_private_one(tmp_path: Path) -> None:
    made = signing_key(tmp_path)
    for wrong in (b"", LocalSigner.generate().public_key.pem):
        made.public_path.write_bytes(wrong)
        signing_key(tmp_path)
        assert made.public_path.read_bytes() == made.signer.public_key.pem
    made.public_path.unlink()
    signing_key(tmp_path)
    assert made.public_path.read_bytes() == made.signer.public_key.pem


def test_unfit_development_keys_are_refused_not_replaced(tmp_path: Path) -> None:
    made = signing_key(tmp_path)
    made.private_path.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        signing_key(tmp_path)
    for wrong in (b"", b"no key", made.signer.public_key.pem):
        made.private_path.write_bytes(wrong)
        made.private_path.chmod(0o600)
        with pytest.raises(StoreError, match=str(made.private_path)):
            signing_key(tmp_path)
        assert made.private_path.read_bytes() == wrong


_MAKE = """
import sys
from pathlib import Path
from storage.key_folder import signing_key
print("ready", flush=True)
sys.stdin.readline()
key = signing_key(Path(sys.argv[1]))
print(int(key.created), key.signer.public_key.fingerprint)
"""


def test_of_concurrent_processes_exactly_one_makes_the_key(tmp_path: Path) -> None:
    answers = [a.split() for a in processes.all_at_once(_MAKE, 5, tmp_path / "keys")]
    assert sum(int(created) for created, _ in answers) == 1
    made = signing_key(tmp_path / "keys")
    assert {fingerprint for _, fingerprint in answers} == {made.signer.public_key.fingerprint}
    assert made.public_path.read_bytes() == made.signer.public_key.pem


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command here")
def test_openssl_agrees(tmp_path: Path) -> None:
    key = signing_key(tmp_path)
    (tmp_path / "data").write_bytes(b"data")
    (tmp_path / "sig").write_bytes(key.signer.sign(b"data"))
    command = ["openssl", "dgst", "-sha256", "-verify", key.public_path, "-signature"]
    said = subprocess.run(
        [*command, tmp_path / "sig", tmp_path / "data"], capture_output=True, check=False
    )
    assert said.stdout == b"Verified OK\n"


def test_each_builder_has_a_key_of_its_own(tmp_path: Path) -> None:
    assert public_keys(tmp_path / "none") == {}
    assert public_key_of(tmp_path, TVM) is None
    local, tvm = signing_key(tmp_path), signing_key(tmp_path, TVM)
    assert local.signer.public_key != tvm.signer.public_key
    assert tvm.private_path.name == "builder-tvm.key"
    key_folder.root_key(tmp_path)
    assert public_keys(tmp_path) == {
        LOCAL_BUILDER: local.signer.public_key,
        TVM: tvm.signer.public_key,
    }
    assert public_key_of(tmp_path, TVM) == tvm.signer.public_key
    for path in tmp_path.glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "builder", ["", "tvm", "urn:other", "urn:tinymlaas:builder:../../x:v1", pool_builder("A")]
)
def test_keys_are_made_for_our_builders_only(tmp_path: Path, builder: str) -> None:
    with pytest.raises(UsageError, match="no builder of ours"):
        signing_key(tmp_path, builder)
    assert list(tmp_path.iterdir()) == []


def test_a_next_key_waits_and_then_takes_the_place(tmp_path: Path) -> None:
    old = signing_key(tmp_path, TVM).signer.public_key
    fresh = key_folder.next_key(tmp_path, TVM).signer.public_key
    assert key_folder.next_key(tmp_path, TVM).signer.public_key == fresh  # as after a kill
    assert signing_key(tmp_path, TVM).signer.public_key == old
    assert public_keys(tmp_path) == {TVM: old}
    placed = key_folder.put_next_in_place(tmp_path, TVM)
    assert placed.signer.public_key == fresh == public_key_of(tmp_path, TVM)
    assert not (tmp_path / "builder-tvm.next.key").exists()


def test_a_damaged_public_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "builder-tvm.pub").write_bytes(b"no key")
    with pytest.raises(StoreError, match=r"builder-tvm\.pub"):
        public_keys(tmp_path)
