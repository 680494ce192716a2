"""Signed envelopes: DSSE 1.0.2 (Dead Simple Signing Envelope, secure-systems-lab/dsse).

We write one signature and no keyid. A keyid is a hint that nobody has signed: here it never
selects a key and never earns trust; every trusted key is tried. One that names another key than
the one that did sign is refused, as somebody has edited it.

A file beside an archive holds one envelope a line (JSON Lines): several may sign one module.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from storage import strict_json
from storage.signing import PublicKey, Signer, form_fault
from tinymlaas.contract.digest import canonical_json
from tinymlaas.contract.errors import VerificationError

MAX_ENVELOPE_BYTES = 1 << 20
MAX_ENVELOPES = 16
_WHAT = "the signature envelope"
_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True)
class Envelope:
    """An envelope as parsed: nothing in it is verified yet."""

    payload_type: str
    payload: bytes
    signature: bytes
    keyid: str


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: the bytes that are signed (DSSE protocol)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload_type: str, payload: bytes, signer: Signer) -> bytes:
    """Return the envelope's JSON on one line; deterministic if the signer is."""
    signature = signer.sign(pae(payload_type, payload))
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": payload_type,
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        }
    )


def join(envelopes: Iterable[bytes]) -> bytes:
    """Return one file's content of several envelopes; each stands in it once, in byte order."""
    return b"\n".join(sorted({envelope.removesuffix(b"\n") for envelope in envelopes}))


def split(data: bytes) -> tuple[bytes, ...]:
    """Return the envelopes in a file's content, unparsed: one a line, nothing around them.

    Raises:
        VerificationError: too many or too large, or there is something else than lines of JSON.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise VerificationError(f"{_WHAT} is malformed: larger than {MAX_ENVELOPE_BYTES} bytes")
    lines = tuple(data.removesuffix(b"\n").split(b"\n", MAX_ENVELOPES))
    if len(lines) > MAX_ENVELOPES:
        raise VerificationError(f"there are more than {MAX_ENVELOPES} signature envelopes")
    if any(not line or line != line.strip() for line in lines):
        raise VerificationError(f"{_WHAT} is malformed: blanks before, behind or between envelopes")
    return lines


def open_envelope(
    data: bytes, payload_type: str, keys: Sequence[PublicKey]
) -> tuple[bytes, PublicKey]:
    """Return the payload, verified, and the key of `keys` that signed it.

    Raises:
        VerificationError: the envelope is malformed, its payload of another type, or its signature
            by none of `keys`.
    """
    envelope = parse(data)
    if envelope.payload_type != payload_type:
        raise VerificationError(
            f"{_WHAT} holds another payload type: {envelope.payload_type[:80]!a}, "
            f"not {payload_type!a}"
        )
    if fault := form_fault(envelope.signature):
        raise VerificationError(
            f"{_WHAT} was edited: the signature is not by a trusted key: {fault}"
        )
    signed = pae(envelope.payload_type, envelope.payload)
    for key in keys:
        if key.verifies(envelope.signature, signed):
            if envelope.keyid not in {"", key.fingerprint}:
                raise VerificationError(f"{_WHAT} was edited: its keyid is not that of its signer")
            return envelope.payload, key
    trusted = ", ".join(f"sha256:{key.fingerprint[:16]}…" for key in keys) or "none"
    raise VerificationError(
        f"the signature is not by a trusted key ({trusted}): another key has signed, or the "
        "envelope was changed since"
    )


def parse(data: bytes) -> Envelope:
    """Return the envelope in `data`, unverified.

    Raises:
        VerificationError: it is no DSSE envelope with exactly one signature.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise VerificationError(f"{_WHAT} is malformed: larger than {MAX_ENVELOPE_BYTES} bytes")
    value = strict_json.loads(data, _WHAT)
    if not isinstance(value, dict):
        raise VerificationError(f"{_WHAT} is malformed: it is no JSON object")
    signatures = value.get("signatures")
    if not isinstance(signatures, list):
        raise VerificationError(f"{_WHAT} is malformed: it has no list of signatures")
    if len(signatures) != 1:
        count = len(signatures) or "no"
        raise VerificationError(f"{_WHAT} has {count} signatures; exactly one is accepted")
    if not isinstance(signatures[0], dict):
        raise VerificationError(f"{_WHAT} is malformed: the signature is no JSON object")
    return Envelope(
        payload_type=_text(value, "payloadType"),
        payload=_base64(value, "payload"),
        signature=_base64(signatures[0], "sig"),
        keyid=_text(signatures[0], "keyid") if "keyid" in signatures[0] else "",
    )


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        raise VerificationError(f"{_WHAT} is malformed: {name} is missing or no text")
    if not text.isprintable():  # also lone surrogates, which have no UTF-8 encoding
        raise VerificationError(f"{_WHAT} is malformed: {name} is no plain text")
    return text


def _base64(value: dict[str, Any], name: str) -> bytes:
    """Decode standard or URL-safe base64; only the one encoding a writer would give."""
    text = _text(value, name)
    standard = text.translate(_URL_SAFE)
    try:
        data = base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError):
        raise VerificationError(f"{_WHAT} is malformed: {name} is no base64") from None
    if text not in {base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()}:
        raise VerificationError(f"{_WHAT} is malformed: {name} is not canonical base64")
    return data
