"""Keys: ECDSA on P-256 over SHA-256, the one algorithm that all DSSE and Sigstore tools verify.

`Signer` is the port; `LocalSigner` holds a key in memory. A later adapter may leave the key where
it is (KMS). Signatures are DER (ANSI X9.62 Ecdsa-Sig-Value) and, from `LocalSigner`, deterministic
(RFC 6979): the same module signed twice gives the same envelope.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from storage import files
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import Failure, StoreError, VerificationError

PRIVATE_NAME = "development.key"
PUBLIC_NAME = "development.pub"
_PUBLIC_MODE = 0o644


@dataclass(frozen=True)
class PublicKey:
    """A P-256 public key. `pem` is its one SubjectPublicKeyInfo encoding, `fingerprint` the
    SHA-256 of that in DER (what ``openssl pkey -pubin -outform DER | sha256sum`` prints).
    """

    pem: bytes
    fingerprint: str
    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return True if `signature` (DER) is this key's over `data`."""
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
        """Return the DER ECDSA-P256-SHA256 signature of `data`.

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
            return self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm as error:
            raise Failure("cannot sign: OpenSSL 3.2 or newer is needed") from error

    def private_pem(self) -> bytes:
        """Return the unencrypted PKCS #8 PEM: for the key file, and for nothing else."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


@dataclass(frozen=True)
class DevelopmentKey:
    """The key of this machine's user. `created` is True for the one call that made it."""

    signer: LocalSigner
    private_path: Path
    public_path: Path
    created: bool


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


def development_key(folder: Path) -> DevelopmentKey:
    """Return the development key in `folder`, making it if there is none.

    Of processes that start at once exactly one makes the key, and all use it. The private key is
    0600, the public key beside it may be given to anyone.

    Raises:
        StoreError: the key cannot be read or made, or others than its owner may read it.
    """
    private, public = folder / PRIVATE_NAME, folder / PUBLIC_NAME
    try:
        files.make_private_folder(folder)
        created = not private.exists() and files.create(
            private, LocalSigner.generate().private_pem(), folder
        )
        pem = files.read(private)
        if stat.S_IMODE(private.stat().st_mode) & 0o077:
            raise StoreError(f"others may read it, run chmod 600 {private}")
        signer = load_signer(pem)
        _publish(signer.public_key, public)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"cannot use the signing key {private}: {reason}") from error
    except StoreError as error:
        raise StoreError(f"cannot use the signing key {private}: {error}") from error
    return DevelopmentKey(signer, private, public, created)


def _publish(key: PublicKey, path: Path) -> None:
    """Write the public key's file unless it says that already."""
    if path.exists() and files.read(path) == key.pem:
        return
    files.replace(path, key.pem, path.parent)
    path.chmod(_PUBLIC_MODE)


def _public(key: ec.EllipticCurvePublicKey) -> PublicKey:
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_bytes(serialization.Encoding.DER, info)
    return PublicKey(key.public_bytes(serialization.Encoding.PEM, info), sha256(der), key)
