from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from storage.signing import LocalSigner, development_key, load_public_key, load_signer
from tests.unit.storage import processes
from tinymlaas.contract.errors import StoreError, VerificationError


def test_signatures_are_those_of_rfc_6979() -> None:
    """Appendix A.2.5 (P-256), SHA-256, message "sample"."""
    secret = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    signer = LocalSigner.of(ec.derive_private_key(secret, ec.SECP256R1()))
    assert decode_dss_signature(signer.sign(b"sample")) == (
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    )


def test_only_the_own_key_and_the_same_bytes_verify() -> None:
    signer, other = LocalSigner.generate(), LocalSigner.generate()
    signature = signer.sign(b"data")
    assert signer.public_key.verifies(signature, b"data")
    assert not signer.public_key.verifies(signature, b"Data")
    assert not other.public_key.verifies(signature, b"data")
    assert not signer.public_key.verifies(b"", b"data")
    assert not signer.public_key.verifies(signature + b"\0", b"data")


def test_public_keys_survive_their_file() -> None:
    key = LocalSigner.generate().public_key
    assert load_public_key(key.pem) == key
    assert load_public_key(b"# a comment\n" + key.pem + b"\n").pem == key.pem


def test_the_secret_is_in_no_repr() -> None:
    signer = LocalSigner.generate()
    assert "PRIVATE" not in repr(signer)
    assert "EllipticCurvePrivateKey" not in repr(signer)


def _pem(key: object) -> bytes:
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, info)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "no PEM"),
        (b"ssh-ed25519 AAAA", "no PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no PEM"),
        (LocalSigner.generate().private_pem(), "private key"),
        (_pem(ec.generate_private_key(ec.SECP384R1())), "P-256"),
        (_pem(ed25519.Ed25519PrivateKey.generate()), "P-256"),
        (_pem(rsa.generate_private_key(65537, 2048)), "P-256"),
    ],
)
def test_other_keys_are_refused_with_a_reason(pem: bytes, reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        load_public_key(pem)


def test_development_key_is_made_once_and_private(tmp_path: Path) -> None:
    first = development_key(tmp_path / "keys")
    assert first.created
    assert stat.S_IMODE(first.private_path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert first.private_path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    second = development_key(tmp_path / "keys")
    assert not second.created
    assert second.signer.public_key == first.signer.public_key
    assert load_public_key(first.public_path.read_bytes()) == first.signer.public_key
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [
        first.private_path.name,
        first.public_path.name,
    ]


def test_the_public_file_follows_the_private_one(tmp_path: Path) -> None:
    made = development_key(tmp_path)
    for wrong in (b"", LocalSigner.generate().public_key.pem):
        made.public_path.write_bytes(wrong)
        development_key(tmp_path)
        assert made.public_path.read_bytes() == made.signer.public_key.pem
    made.public_path.unlink()
    development_key(tmp_path)
    assert made.public_path.read_bytes() == made.signer.public_key.pem


def test_unfit_development_keys_are_refused_not_replaced(tmp_path: Path) -> None:
    made = development_key(tmp_path)
    made.private_path.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        development_key(tmp_path)
    for wrong in (b"", b"no key", made.signer.public_key.pem):
        made.private_path.write_bytes(wrong)
        made.private_path.chmod(0o600)
        with pytest.raises(StoreError, match=str(made.private_path)):
            development_key(tmp_path)
        assert made.private_path.read_bytes() == wrong


def test_encrypted_and_foreign_private_keys_are_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(StoreError, match="unencrypted"):
        load_signer(locked)
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(StoreError, match="P-256"):
        load_signer(other)


_MAKE = """
import sys
from pathlib import Path
from storage.signing import development_key
print("ready", flush=True)
sys.stdin.readline()
key = development_key(Path(sys.argv[1]))
print(int(key.created), key.signer.public_key.fingerprint)
"""


def test_of_concurrent_processes_exactly_one_makes_the_key(tmp_path: Path) -> None:
    answers = [a.split() for a in processes.all_at_once(_MAKE, 5, tmp_path / "keys")]
    assert sum(int(created) for created, _ in answers) == 1
    made = development_key(tmp_path / "keys")
    assert {fingerprint for _, fingerprint in answers} == {made.signer.public_key.fingerprint}
    assert made.public_path.read_bytes() == made.signer.public_key.pem


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command here")
def test_openssl_agrees(tmp_path: Path) -> None:
    key = development_key(tmp_path)
    (tmp_path / "data").write_bytes(b"data")
    (tmp_path / "sig").write_bytes(key.signer.sign(b"data"))
    command = ["openssl", "dgst", "-sha256", "-verify", key.public_path, "-signature"]
    said = subprocess.run(
        [*command, tmp_path / "sig", tmp_path / "data"], capture_output=True, check=False
    )
    assert said.stdout == b"Verified OK\n"
