"""A signed module's envelope as a Sigstore bundle v0.3, which cosign verifies without a network.

Source: sigstore/protobuf-specs, sigstore_bundle.proto (message Bundle) in its JSON mapping.

The envelope has no keyid, though the format would have it equal the hint: cosign's verifier
(go-securesystemslib) takes a keyid for the fingerprint of the key in SSH's encoding, passes over a
signature that has another, and so refuses every bundle whose keyid is the hint.
"""

from __future__ import annotations

import base64

from storage import dsse, strict_json
from storage.signing import PublicKey
from tinymlaas.contract.digest import canonical_json
from tinymlaas.contract.errors import VerificationError

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_BUNDLE_BYTES = dsse.MAX_ENVELOPE_BYTES


def bundle_name(archive_file: str, fingerprint: str | None = None) -> str:
    """Return the name of a bundle beside an archive's file; `fingerprint` tells several apart."""
    infix = "" if fingerprint is None else f".{fingerprint[:16]}"
    return f"{archive_file}{infix}.sigstore.json"


def key_hint(key: PublicKey) -> str:
    """Return the hint on `key` as cosign gives it: base64 of the SHA-256 of its DER encoding."""
    return base64.b64encode(bytes.fromhex(key.fingerprint)).decode()


def sigstore_bundle(envelope: bytes, key: PublicKey) -> bytes:
    """Return the bundle of one *verified* envelope signed by `key`, one line of JSON.

    Raises:
        VerificationError: it is no envelope with one signature.
    """
    found = dsse.parse(envelope)
    return canonical_json(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key_hint(key)}},
            "dsseEnvelope": {
                "payload": base64.b64encode(found.payload).decode(),
                "payloadType": found.payload_type,
                "signatures": [{"sig": base64.b64encode(found.signature).decode()}],
            },
        }
    )


def envelope_in(bundle: bytes) -> bytes:
    """Return the envelope in a bundle, unverified; `check_bundle` is to follow once it verified.

    Raises:
        VerificationError: it is no bundle.
    """
    value = strict_json.loads(bundle, "the bundle")
    if not isinstance(value, dict) or value.get("mediaType") != BUNDLE_TYPE:
        raise VerificationError(f"the bundle is malformed: its mediaType is not {BUNDLE_TYPE}")
    if not isinstance(value.get("dsseEnvelope"), dict):
        raise VerificationError("the bundle is malformed: it has no dsseEnvelope")
    return canonical_json(value["dsseEnvelope"])


def check_bundle(bundle: bytes, envelope: bytes, key: PublicKey) -> None:
    """Refuse a bundle of ours that somebody edited around the envelope that `key` signed.

    Raises:
        VerificationError: it is not to the byte what `sigstore_bundle` gives.
    """
    if sigstore_bundle(envelope, key) != bundle:
        raise VerificationError("the bundle was edited: it is not as tinymlaas writes it")
