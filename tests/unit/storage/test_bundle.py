"""The Sigstore bundle, checked by its published schema and without our own envelope code."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.signer import SSlibKey

from storage.bundle import bundle_name, sigstore_bundle
from storage.signing import LocalSigner
from tests.unit.storage import modules
from tinymlaas.contract.errors import VerificationError

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "sigstore-bundle.schema.json").read_text())
SIGNER = LocalSigner.generate()
ARCHIVE = modules.archive()
ENVELOPE = modules.envelope(ARCHIVE, SIGNER)


def _bundle() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sigstore_bundle(ENVELOPE, SIGNER.public_key))
    return found


def test_it_is_valid_by_the_published_schema() -> None:
    validator = jsonschema.Draft4Validator(SCHEMA)
    validator.validate(_bundle())
    for edit in ({"mediaType": 3}, {"dsseEnvelope": None}, {"extra": {}}):
        assert not validator.is_valid(_bundle() | edit)


def test_it_says_version_0_3_with_one_signature_and_the_hint_of_the_key() -> None:
    bundle = _bundle()
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    key = serialization.load_pem_public_key(SIGNER.public_key.pem)
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    hint = base64.b64encode(hashlib.sha256(der).digest()).decode()
    assert bundle["verificationMaterial"] == {"publicKey": {"hint": hint}}
    (signature,) = bundle["dsseEnvelope"]["signatures"]
    assert "keyid" not in signature  # with the hint as keyid cosign passes over the signature


def test_the_signature_verifies_without_our_code() -> None:
    """The steps cosign takes: PAE of the payload, the key's signature, the subject's digest."""
    envelope = _bundle()["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"], validate=True)
    kind = envelope["payloadType"].encode()
    signed = b" ".join(
        [b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload]
    )
    key = serialization.load_pem_public_key(SIGNER.public_key.pem)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
    key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    statement = json.loads(payload)
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    digests = [subject["digest"]["sha256"] for subject in statement["subject"]]
    assert hashlib.sha256(ARCHIVE).hexdigest() in digests


def test_securesystemslib_verifies_it() -> None:
    envelope = _bundle()["dsseEnvelope"]
    envelope["signatures"][0]["keyid"] = "any"  # it wants one, and trusts none
    key = SSlibKey(
        "any",
        "ecdsa",
        "ecdsa-sha2-nistp256",
        {"public": SIGNER.public_key.pem.decode()},
    )
    assert PeerEnvelope.from_dict(envelope).verify([key], 1)


def test_the_same_envelope_gives_the_same_bundle() -> None:
    assert sigstore_bundle(ENVELOPE, SIGNER.public_key) == sigstore_bundle(
        ENVELOPE, SIGNER.public_key
    )
    assert bundle_name("m.zip") == "m.zip.sigstore.json"
    assert bundle_name("m.zip", "ab" * 32) == "m.zip.abababababababab.sigstore.json"


def test_what_is_no_envelope_is_refused() -> None:
    with pytest.raises(VerificationError, match="malformed"):
        sigstore_bundle(b"{}", SIGNER.public_key)
