"""Keys: ECDSA on P-256 over SHA-256, the one algorithm that all DSSE and Sigstore tools verify.

`Signer` is the port; `LocalSigner` holds a key in memory. A later adapter may leave the key where
it is (KMS). Signatures are DER (ANSI X9.62 Ecdsa-Sig-Value) and, from `LocalSigner`, deterministic
(RFC 6979): the same module signed twice gives the same envelope.

Of the two values of ``s`` that verify (s and n - s) only the lower is accepted, and of the
encodings only DER: whoever changes a signature, though it be to one that is as good, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import Failure, StoreError, VerificationError

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (SEC 2)


@dataclass(frozen=True)
class PublicKey:
    """A P-256 public key. `pem` is its one SubjectPublicKeyInfo encoding, `fingerprint` the
    SHA-256 of that in DER (what ``openssl pkey -pubin -outform DER | sha256sum`` prints).
    """

    pem: bytes
    fingerprint: str
    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return True if `signature` is this key's over `data`, in the one form accepted."""
        if form_fault(signature) is not None:
            return False
        try:
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


class Signer(Protocol):
    """Something that can sign: a key in a file, later a key in a KMS."""

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what `sign` gives."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the DER ECDSA-P256-SHA256 signature of `data`, `normalised`.

        Raises:
            Failure: the key cannot be used now.
        """
        ...


@dataclass(frozen=True)
class LocalSigner:
    """`Signer` with the private key in this process."""

    _key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)
    public_key: PublicKey

    @classmethod
    def generate(cls) -> LocalSigner:
        """Make a new key."""
        return cls.of(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def of(cls, key: ec.EllipticCurvePrivateKey) -> LocalSigner:
        """Wrap a P-256 private key."""
        return cls(key, _public(key.public_key()))

    def sign(self, data: bytes) -> bytes:
        """See `Signer.sign`."""
        try:
            raw = self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm as error:
            raise Failure("cannot sign: OpenSSL 3.2 or newer is needed") from error
        return normalised(raw)

    def private_pem(self) -> bytes:
        """Return the unencrypted PKCS #8 PEM: for the key file, and for nothing else."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def normalised(signature: bytes) -> bytes:
    """Return the one accepted form of a DER signature; a signer elsewhere (a KMS) may give another.

    Raises:
        ValueError: it is no DER signature.
    """
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, _ORDER - s))


def form_fault(signature: bytes) -> str | None:
    """Say why `signature` is not in the one form accepted, whatever it signs; None if it is."""
    try:
        r, s = decode_dss_signature(signature)
        canonical = encode_dss_signature(r, s) == signature
    except ValueError:
        return "it is no DER encoding of an ECDSA signature"
    if not canonical:
        return "it is not the canonical DER encoding"
    if not (0 < r < _ORDER and 0 < s < _ORDER):
        return "its numbers are out of range"
    if s > _ORDER // 2:
        return "it is the twin of the accepted one (high S)"
    return None


def load_public_key(pem: bytes) -> PublicKey:
    """Return the key in a PEM file.

    Raises:
        VerificationError: it is no P-256 public key.
    """
    if b"PRIVATE KEY-----" in pem:
        raise VerificationError("this is a private key: give the public one, and keep this secret")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise VerificationError("the key is no PEM public key (BEGIN PUBLIC KEY)") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise VerificationError("the key is not of the only kind accepted, ECDSA P-256")
    return _public(key)


def load_signer(pem: bytes) -> LocalSigner:
    """Return the signer whose private key is in `pem` (PKCS #8, not encrypted).

    Raises:
        StoreError: it is anything else.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise StoreError("it is no unencrypted PEM private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise StoreError("it is no ECDSA P-256 key")
    return LocalSigner.of(key)


def _public(key: ec.EllipticCurvePublicKey) -> PublicKey:
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_bytes(serialization.Encoding.DER, info)
    return PublicKey(key.public_bytes(serialization.Encoding.PEM, info), sha256(der), key)
