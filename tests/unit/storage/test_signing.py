from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from storage.signing import LocalSigner, form_fault, load_public_key, load_signer, normalised
from tinymlaas.contract.errors import StoreError, VerificationError

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_signatures_are_those_of_rfc_6979() -> None:
    """Appendix A.2.5 (P-256), SHA-256, message "sample"; of s and n - s the lower."""
    secret = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    signer = LocalSigner.of(ec.derive_private_key(secret, ec.SECP256R1()))
    assert decode_dss_signature(signer.sign(b"sample")) == (
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        ORDER - 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
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


def test_only_one_form_of_a_signature_is_accepted() -> None:
    """The twin and a longer encoding verify mathematically; whoever made them edited something."""
    signer = LocalSigner.generate()
    for index in range(20):  # each s is in the upper half with probability one half
        data = b"%d" % index
        signature = signer.sign(data)
        r, s = decode_dss_signature(signature)
        twin = encode_dss_signature(r, ORDER - s)
        signer._key.public_key().verify(twin, data, ec.ECDSA(hashes.SHA256()))
        assert not signer.public_key.verifies(twin, data)
        assert normalised(twin) == signature
        assert form_fault(signature) is None
        assert "high S" in str(form_fault(twin))
    longer = signature[:1] + b"\x81" + signature[1:]  # BER's long form of the length
    assert form_fault(longer) is not None
    assert not signer.public_key.verifies(longer, data)
    for nonsense in (b"", b"0", signature + b"\0", signature[:-1], encode_dss_signature(0, 1)):
        assert form_fault(nonsense) is not None
