"""The signing process: what it signs, what it refuses, and that it is there when it is needed."""

from __future__ import annotations

import os
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import dsse
from storage.archive import read_archive
from storage.provenance import PAYLOAD_TYPE, Builder, encode_statement, pool_builder, statement_of
from storage.remote_signer import MAX_FRAME_BYTES, RemoteSigner
from storage.signing import LocalSigner
from tests.unit.storage import modules
from tinymlaas.contract.errors import Failure, RetryableFailure, StoreError
from tinymlaas.settings import Settings
from tinymlaas.signer.leave import Leave, NotSigned
from tinymlaas.signer.starting import OwnersSigner, OwnSigner

BUILDER = pool_builder("tvm")


def pae(builder: str = BUILDER, compiler: str = "tvm") -> bytes:
    """Return what a worker of `compiler` has signed."""
    used = modules.manifest().compiler.model_copy(update={"name": compiler})
    archive = read_archive(modules.archive(compiler=used))
    asked = modules.asked().model_copy(update={"compiler": compiler})
    statement = statement_of(archive, asked, Builder(id=builder))
    return dsse.pae(PAYLOAD_TYPE, encode_statement(statement))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSigner]:
    with OwnSigner(tmp_path_factory.mktemp("keys"), "tvm") as signer:
        signer.ensure()
        yield signer


def test_it_signs_what_its_pool_has_built(tmp_path: Path) -> None:
    with OwnSigner(tmp_path, "tvm") as own:
        remote = RemoteSigner(own.ensure())
        assert remote.public_key.verifies(remote.sign(pae()), pae())
        assert own.ready.created
        private = Path(own.ready.private_path)
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
        assert stat.S_IMODE(own.ensure().parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no provenance statement"),
        (b"anything at all", "no provenance statement"),
        (pae(pool_builder("cmsis-nn")), "this signs for urn:tinymlaas:builder:tvm:v1"),
        (pae("urn:tinymlaas:builder:local:v1"), "this signs for"),
        (pae(compiler="cmsis-nn"), "the compiler is 'cmsis-nn', and this signs for tvm alone"),
        (pae() + b" ", "DSSE encoding is malformed"),
        (dsse.pae("application/json", b"{}"), "no provenance statement"),
        (dsse.pae(PAYLOAD_TYPE, b"{}"), "type is None"),
        (dsse.pae(PAYLOAD_TYPE, b"[" * 100_000), "malformed"),
        (dsse.pae(PAYLOAD_TYPE, b"\xff\xfe"), "not UTF-8"),
    ],
)
def test_it_refuses_all_else_and_says_why(own: OwnSigner, data: bytes, reason: str) -> None:
    with pytest.raises(Failure, match="the signer refuses: ") as refused:
        RemoteSigner(own.ensure()).sign(data)
    assert reason in str(refused.value)


def test_no_word_more_than_a_statement_of_ours_has_is_signed() -> None:
    payload = pae().partition(b"{")[2]
    more = b'{"_more":1,' + payload
    with pytest.raises(NotSigned, match="says more than"):
        Leave(BUILDER, "tvm").check(dsse.pae(PAYLOAD_TYPE, more))


def test_a_laptop_signs_for_every_compiler_and_no_pool() -> None:
    laptop = Leave("urn:tinymlaas:builder:local:v1")
    for compiler in ("tvm", "cmsis-nn"):
        laptop.check(pae(laptop.builder, compiler))
    with pytest.raises(NotSigned, match="the builder is"):
        laptop.check(pae())


@pytest.mark.parametrize(
    "sent",
    [b"", b"\0\0", struct.pack(">I", 0), struct.pack(">I", MAX_FRAME_BYTES + 1),
     struct.pack(">I", 1) + b"X", struct.pack(">I", 2) + b"K!", struct.pack(">I", 9) + b"S"],
)  # fmt: skip
def test_garbage_ends_its_own_connection_alone(own: OwnSigner, sent: bytes) -> None:
    before, path = own.pid, own.ensure()
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        line.sendall(sent)
        line.shutdown(socket.SHUT_WR)
        answer = line.recv(1000)
    assert answer[4:5] == b"!", answer
    assert RemoteSigner(path).sign(pae())
    assert own.pid == before


def test_who_hangs_up_is_no_harm(own: OwnSigner) -> None:
    path = own.ensure()
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(path))
            line.sendall(struct.pack(">I", 1) + b"K")
    assert RemoteSigner(path).sign(pae())


def test_nobody_else_may_look_into_it(own: OwnSigner) -> None:
    own.ensure()
    assert Path(f"/proc/{own.pid}/environ").stat().st_uid == 0, "not dumpable: root's"


def test_killed_it_is_there_again_with_the_same_key(own: OwnSigner) -> None:
    remote = RemoteSigner(own.ensure())
    key, before = remote.public_key, own.pid
    assert before is not None
    os.kill(before, 9)
    while own.pid is not None:
        time.sleep(0.01)
    with pytest.raises(RetryableFailure, match="does not answer"):
        RemoteSigner(own._folder / "socket", 0.1).sign(pae())  # type: ignore[operator]
    own.ensure()
    assert own.pid not in {None, before}
    assert RemoteSigner(own.ensure()).public_key == key
    assert not own.ready.created
    assert remote.sign(pae())


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    own = OwnSigner(tmp_path, "tvm")
    own.ensure()
    process = own._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # as the end of our process does
    assert process.wait(60) == 0
    own._process = None
    own.close()


def test_the_folder_of_a_worker_that_was_killed_does_not_come_back(tmp_path: Path) -> None:
    """Its guardian may have removed it before the signer came to listen there, or just after."""
    command = [sys.executable, "-m", "tinymlaas.signer", "--life", "--pool", "tvm"]
    command += ["--keys", str(tmp_path / "keys")]
    gone, there = tmp_path / "gone", tmp_path / "there"
    there.mkdir(mode=0o700)
    refused = [*command, "--socket", str(gone / "socket")]
    told = subprocess.run(refused, input=b"", capture_output=True, timeout=60, check=False)
    assert b"cannot listen at" in told.stdout
    assert not gone.exists()
    subprocess.run([*command, "--socket", str(there / "socket")], input=b"", timeout=60, check=True)
    assert not there.exists()


def test_a_sidecar_ends_when_it_is_told_to(tmp_path: Path) -> None:
    """With 0 and not by the signal, which the first process of a container never dies of."""
    places = ("--keys", str(tmp_path / "keys"), "--socket", str(tmp_path / "s" / "socket"))
    process = subprocess.Popen(
        [sys.executable, "-m", "tinymlaas.signer", "--pool", "tvm", *places],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()


def test_a_key_that_others_may_read_is_told_at_once(tmp_path: Path) -> None:
    with OwnSigner(tmp_path, "tvm") as first:
        first.ensure()
        Path(first.ready.private_path).chmod(0o644)
    with OwnSigner(tmp_path, "tvm") as own, pytest.raises(StoreError, match="others may read it"):
        own.ensure()


def test_a_laptop_asks_its_process_only_to_sign(tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path, tmp_path / "keys", ())
    data = pae("urn:tinymlaas:builder:local:v1")
    first = OwnersSigner(settings)
    key = first.public_key
    assert first.made is not None
    assert first.made.public_path
    assert key.verifies(first.sign(data), data)
    first.close()
    second = OwnersSigner(settings)
    assert second.public_key == key
    assert second._own is not None
    assert second._own.pid is None, "the public key tells enough"
    assert key.verifies(second.sign(data), data)
    assert second.made is None
    second.close()
    (tmp_path / "keys" / "development.pub").write_bytes(LocalSigner.generate().public_key.pem)
    third = OwnersSigner(settings)
    assert third.public_key != key
    third.close()
