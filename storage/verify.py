"""Verify a module: the envelope's signature, then the archive against the signed statement.

The order is the point. Nothing in the envelope counts before its signature is verified by a key
the caller trusts; the payload is parsed once, from the very bytes that were verified; and nothing
in the archive counts before its digest is the signed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storage import diagnosis, dsse
from storage.archive import Archive, read_archive
from storage.provenance import LOCAL_BUILDER, PAYLOAD_TYPE, Statement, decode_statement
from storage.signing import PublicKey, load_public_key
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import VerificationError
from tinymlaas.contract.manifest import ModuleManifest


@dataclass(frozen=True)
class TrustedKey:
    """A key, and the builders it may speak for: a key alone is never trusted for everything."""

    key: PublicKey
    builders: frozenset[str]


@dataclass(frozen=True)
class VerifiedModule:
    """A module whose every byte is vouched for by `key`."""

    archive: Archive
    statement: Statement
    key: PublicKey

    @property
    def manifest(self) -> ModuleManifest:
        """The archive's manifest."""
        return self.archive.manifest


def trusted_key(pem: bytes, *builders: str) -> TrustedKey:
    """Return the trust in the public key `pem` for `builders` (default: the local builder).

    Raises:
        VerificationError: `pem` is no P-256 public key.
    """
    return TrustedKey(load_public_key(pem), frozenset(builders or (LOCAL_BUILDER,)))


def verify_module(
    archive: bytes, envelope: bytes | None, trusted: Sequence[TrustedKey]
) -> VerifiedModule:
    """Return the module, proven to be what a trusted builder signed.

    `envelope` is None where there is no envelope file.

    Raises:
        VerificationError: it is not; each reason names one thing that is wrong. No other error
            comes of any `archive` and `envelope` whatever.
    """
    if not envelope:
        raise VerificationError("the module is not signed: its envelope is missing or empty")
    keys = [entry.key for entry in trusted]
    payload, key = dsse.open_envelope(envelope, PAYLOAD_TYPE, keys)
    statement = decode_statement(payload)
    _check_builder(statement, key, trusted)
    if sha256(archive) != statement.archive_digest:
        raise VerificationError(*diagnosis.changes(archive, statement.manifest_digest))
    read = read_archive(archive)
    _check_agreement(read, statement)
    return VerifiedModule(read, statement, key)


def _check_builder(statement: Statement, key: PublicKey, trusted: Sequence[TrustedKey]) -> None:
    builder = statement.predicate.run_details.builder.id
    allowed = {b for entry in trusted if entry.key == key for b in entry.builders}
    if builder not in allowed:
        raise VerificationError(
            f"the module was built by {builder[:100]!a}, for which its signer is not trusted"
        )


def _check_agreement(archive: Archive, statement: Statement) -> None:
    """Refuse a statement and a manifest that a confused builder signed together."""
    asked = statement.predicate.build_definition.external_parameters
    manifest = archive.manifest
    if archive.manifest_digest != statement.manifest_digest:
        raise VerificationError("the manifest was changed: it is not the one that was signed")
    if (asked.model, asked.name, asked.target) != (
        manifest.model_digest,
        manifest.name,
        manifest.target,
    ):
        raise VerificationError("the signed statement is about another model, name or target")
