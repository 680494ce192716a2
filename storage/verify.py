"""Verify a module: the envelopes' signatures, then the archive against the signed statements.

The order is the point. Nothing in an envelope counts before its signature is verified by a key the
caller knows; the payload is parsed once, from the very bytes that were verified; and nothing in the
archive counts before its digest is the signed one.

Every envelope beside an archive must be by a known key for a builder it may speak for, else the
whole is refused: there is nothing in the file that somebody could have changed unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storage import diagnosis, dsse
from storage.archive import Archive, read_archive
from storage.provenance import (
    LOCAL_BUILDER,
    PAYLOAD_TYPE,
    Statement,
    builder_name,
    decode_statement,
)
from storage.signing import PublicKey, load_public_key
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import VerificationError
from tinymlaas.contract.manifest import ModuleManifest

SANDBOXED = "bubblewrap"  # what a provenance says of a build inside the sandbox


@dataclass(frozen=True)
class TrustedKey:
    """A key, and the builders it may speak for: a key alone is never trusted for everything.

    `refusal` says why its signatures count for nothing, now or ever: revoked, overlap over.
    """

    key: PublicKey
    builders: frozenset[str]
    refusal: str | None = None


@dataclass(frozen=True)
class VerifiedModule:
    """A module whose every byte is vouched for by `keys`, the distinct ones that count.

    `statement` is that of `key`, the first of them, `envelopes` what each has signed; `remarks` are
    lines that a user should read.
    """

    archive: Archive
    statement: Statement
    keys: tuple[PublicKey, ...]
    envelopes: tuple[bytes, ...]
    remarks: tuple[str, ...] = ()

    @property
    def key(self) -> PublicKey:
        """The key of the first envelope that counts."""
        return self.keys[0]

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
    archive: bytes,
    envelopes: bytes | None,
    trusted: Sequence[TrustedKey],
    *,
    threshold: int = 1,
    require_sandbox: bool = False,
) -> VerifiedModule:
    """Return the module, proven to be what at least `threshold` distinct trusted keys signed.

    `envelopes` is the content of the file beside the archive, one envelope a line; None where there
    is no such file. With `require_sandbox` only what was built in the sandbox is accepted.

    Raises:
        VerificationError: it is not; each reason names one thing that is wrong. No other error
            comes of any `archive` and `envelopes` whatever.
    """
    if not envelopes:
        raise VerificationError("the module is not signed: its envelope is missing or empty")
    signed, remarks = _signed(envelopes, trusted)
    if len(signed) < threshold:
        raise VerificationError(_too_few(len(signed), threshold, remarks))
    statements = [statement for statement, _ in signed.values()]
    first = statements[0]
    for other in statements[1:]:
        _check_same(first, other)
    if sha256(archive) != first.archive_digest:
        raise VerificationError(*diagnosis.changes(archive, first.manifest_digest))
    read = read_archive(archive)
    for statement in statements:
        _check_agreement(read, statement)
        remarks += _sandbox(statement, required=require_sandbox)
    lines = tuple(line for _, line in signed.values())
    return VerifiedModule(read, first, tuple(signed), lines, tuple(dict.fromkeys(remarks)))


def _signed(
    envelopes: bytes, trusted: Sequence[TrustedKey]
) -> tuple[dict[PublicKey, tuple[Statement, bytes]], list[str]]:
    """Return what each key that counts has signed, with its envelope, and why others do not."""
    keys = [entry.key for entry in trusted]
    signed: dict[PublicKey, tuple[Statement, bytes]] = {}
    remarks = []
    for line in dsse.split(envelopes):
        payload, key = dsse.open_envelope(line, PAYLOAD_TYPE, keys)
        entries = [entry for entry in trusted if entry.key == key]
        refusals = [entry.refusal for entry in entries if entry.refusal is not None]
        if refusals:
            remarks.append(f"the key {key.fingerprint[:16]}… that signed {refusals[0]}")
            continue
        statement = decode_statement(payload)
        _check_builder(statement, frozenset().union(*(entry.builders for entry in entries)))
        if key in signed:  # counted once, and then it must have said the same
            _check_same(signed[key][0], statement)
        signed.setdefault(key, (statement, line))
    return signed, remarks


def _too_few(count: int, threshold: int, remarks: Sequence[str]) -> str:
    """Say why `count` are too few; what does not count is the reason where there is any."""
    because = "; ".join(remarks)
    if threshold == 1:
        return because
    counted = f"{count} of the {threshold} distinct keys needed have signed the module"
    return f"{counted}; {because}" if because else counted


def _check_builder(statement: Statement, allowed: frozenset[str]) -> None:
    builder = statement.predicate.run_details.builder.id
    if builder not in allowed:
        raise VerificationError(
            f"the module was built by {builder[:100]!a}, for which its signer is not trusted"
        )


def _check_same(first: Statement, other: Statement) -> None:
    """Refuse two signers that do not speak of the same bytes made from the same parameters."""
    one, two = (each.predicate.build_definition for each in (first, other))
    if first.subject != other.subject or one.external_parameters != two.external_parameters:
        raise VerificationError("the signed statements are about different modules or parameters")


def _sandbox(statement: Statement, *, required: bool) -> list[str]:
    """Return the remark on a build outside the sandbox.

    A statement that says nothing is as good as none here: who does not say so did not do it.
    """
    sandbox = statement.predicate.build_definition.internal_parameters.sandbox
    if sandbox == SANDBOXED:
        return []
    how = "outside the sandbox" if sandbox else "where its provenance names no sandbox"
    if required:
        raise VerificationError(f"the module was built {how}, and --require-sandbox was given")
    return [f"the module was built {how}"]


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
    pool = builder_name(statement.predicate.run_details.builder.id)
    if pool not in {None, builder_name(LOCAL_BUILDER), manifest.compiler.name}:
        raise VerificationError(
            f"the module was built by the pool {pool}, but its manifest names the compiler "
            f"{manifest.compiler.name[:80]!a}, which is another pool's"
        )
