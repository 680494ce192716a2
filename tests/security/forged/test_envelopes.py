"""Envelopes that are not what a trusted key signed, and signatures that are not enough."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from storage import dsse
from storage.keyring import KEYRING_TYPE
from storage.provenance import LOCAL_BUILDER, PAYLOAD_TYPE
from storage.signing import LocalSigner
from tests.security.forged.world import (
    ENVELOPE,
    PAYLOAD,
    SECOND,
    SIGNER,
    STRANGER,
    TFLM,
    THIRD,
    TRUSTED,
    TVM,
    all_flips,
    archive_of,
    edited,
    envelope_by,
    refusal,
    sampled_flips,
    sealed,
    trusting,
    verified,
)
from tests.unit.storage.keyrings import entry
from tinymlaas.contract.errors import VerificationError

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SIGNATURE = base64.b64decode(json.loads(ENVELOPE)["signatures"][0]["sig"])
BOTH = trusting(entry(SIGNER, TVM), entry(SECOND, TVM))
TWICE = dsse.join([ENVELOPE, envelope_by(SECOND)])


def _said(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _check(flips: Iterator[tuple[int, bytes]], **case: object) -> int:
    count = 0
    for position, data in flips:
        reason = refusal(envelope=data, **case)
        about = ("signature envelope", "not by a trusted key", "signature envelopes")
        assert any(words in reason for words in about), (position, reason)
        count += 1
    return count


def test_flipped_bits_all_over_the_envelope() -> None:
    assert _check(sampled_flips(ENVELOPE, 7, 2)) > 300


def test_flipped_bits_in_any_of_two_envelopes() -> None:
    """Though one signature alone would be enough: nothing in the file is left unguarded."""
    assert verified(envelope=TWICE, trusted=BOTH).keys
    assert _check(sampled_flips(TWICE, 13, 3), trusted=BOTH, threshold=1) > 300


@pytest.mark.slow
def test_every_bit_of_the_envelope() -> None:
    assert _check(all_flips(ENVELOPE)) == 8 * len(ENVELOPE)


@pytest.mark.slow
def test_every_bit_of_two_envelopes() -> None:
    assert _check(all_flips(TWICE), trusted=BOTH) == 8 * len(TWICE)


@pytest.mark.slow
def test_every_length_of_two_envelopes() -> None:
    whole = {len(ENVELOPE), len(ENVELOPE) + 1, len(TWICE)}  # the first alone is one that verifies
    for size in set(range(len(TWICE))) - whole:
        refusal(envelope=TWICE[:size], trusted=BOTH)


def test_truncated_appended_to_and_empty() -> None:
    for size in range(0, len(ENVELOPE), 29):
        refusal(envelope=ENVELOPE[:size])
    for more in (b" ", b"\r\n", b"\n\n", b"\0", b"{}", b"\n{}", b",", ENVELOPE):
        assert "malformed" in refusal(envelope=ENVELOPE + more)
    for none in (None, b""):
        assert "not signed" in refusal(envelope=none)
    assert "malformed" in refusal(envelope=b"\n")


def test_a_strangers_signature_whatever_its_keyid_says() -> None:
    forged = envelope_by(STRANGER)
    assert "not by a trusted key" in refusal(envelope=forged)
    for keyid in ("", SIGNER.public_key.fingerprint, STRANGER.public_key.fingerprint):
        assert "not by a trusted key" in refusal(envelope=edited(forged, keyid=keyid))


def test_a_swapped_keyid_on_a_genuine_signature() -> None:
    for keyid in (SECOND.public_key.fingerprint, "x", "0" * 64):
        assert "keyid is not that of its signer" in refusal(envelope=edited(keyid=keyid))


def test_another_builder() -> None:
    assert f"was built by {TFLM!r}" in refusal(envelope=envelope_by(SIGNER, TFLM))
    pairs = trusting(entry(SIGNER, TVM), entry(SECOND, TFLM))
    assert "its signer is not trusted" in refusal(envelope=envelope_by(SIGNER, TFLM), trusted=pairs)
    assert verified(trusted=pairs).keys == (SIGNER.public_key,)


def test_a_pool_that_speaks_for_anothers_compiler() -> None:
    """Its key may speak for its builder, and that has never seen this compiler."""
    pairs = trusting(entry(SIGNER, TVM), entry(SECOND, TFLM))
    reason = refusal(envelope=envelope_by(SECOND, TFLM), trusted=pairs)
    assert "built by the pool tflm, but its manifest names the compiler 'tvm'" in reason
    verified(envelope=envelope_by(SIGNER, LOCAL_BUILDER), trusted=trusting(entry(SIGNER)))
    elsewhere = "https://example.org/builder"
    theirs = trusting(entry(SIGNER, elsewhere))
    verified(envelope=envelope_by(SIGNER, elsewhere), trusted=theirs)


def test_a_signature_over_another_payload_type() -> None:
    for kind in ("application/json", KEYRING_TYPE, ""):
        assert "another payload type" in refusal(envelope=sealed(PAYLOAD, kind=kind))
    for kind in ("application/json", PAYLOAD_TYPE.upper()):
        assert "another payload type" in refusal(envelope=edited(payloadType=kind))
    genuine = sealed(PAYLOAD, kind="application/json")
    relabelled = edited(genuine, payloadType=PAYLOAD_TYPE)
    assert "not by a trusted key" in refusal(envelope=relabelled)


def test_a_bare_signature_of_the_payload() -> None:
    """Without the encoding that binds the type."""
    assert "not by a trusted key" in refusal(envelope=edited(sig=_said(SIGNER.sign(PAYLOAD))))


def test_duplicate_keys() -> None:
    for field in (b'"payload":"e30="', b'"payloadType":"x"', b'"signatures":[]'):
        assert "same key twice" in refusal(envelope=ENVELOPE[:-1] + b"," + field + b"}")
        assert "same key twice" in refusal(envelope=b"{" + field + b"," + ENVELOPE[1:])
    twice = PAYLOAD[:-1] + b',"predicateType":"https://slsa.dev/provenance/v1"}'
    assert "same key twice" in refusal(envelope=sealed(twice))


def test_base64_that_is_not_canonical() -> None:
    text = json.loads(ENVELOPE)["payload"]
    padded = _said(PAYLOAD + b" " * (-(len(PAYLOAD) + 2) % 3))
    assert padded.endswith("=")
    loose = padded.rstrip("=")
    others = [text + "=", text + "====", text[:4] + "\n" + text[4:], text + " ", loose, "!" + text]
    for other in others:
        assert "payload is " in refusal(envelope=edited(payload=other))
    sig = _said(SIGNATURE)
    for other in (sig + "=", sig[:-1], sig[:8] + "*" + sig[8:]):
        assert "sig is " in refusal(envelope=edited(sig=other))


def test_the_twin_of_a_signature() -> None:
    """Mathematically as good, and refused: the envelope is not what the signer wrote."""
    r, s = decode_dss_signature(SIGNATURE)
    twin = encode_dss_signature(r, ORDER - s)
    signed = dsse.pae(PAYLOAD_TYPE, base64.b64decode(json.loads(ENVELOPE)["payload"]))
    SIGNER._key.public_key().verify(twin, signed, ec.ECDSA(hashes.SHA256()))
    assert "high S" in refusal(envelope=edited(sig=_said(twin)))


def test_encodings_of_a_signature_that_are_not_der() -> None:
    r, s = decode_dss_signature(SIGNATURE)
    inner = SIGNATURE[2:]
    others = [
        b"\x30\x81" + bytes([len(inner)]) + inner,  # BER: the length in its long form
        b"\x30\x80" + inner + b"\0\0",  # BER: an indefinite length
        SIGNATURE + b"\0",
        b"",
        r.to_bytes(32, "big") + s.to_bytes(32, "big"),  # IEEE P1363, as JWS has it
        encode_dss_signature(0, s),
        encode_dss_signature(r, 0),
        encode_dss_signature(r + ORDER, s),
        b"\x30" + bytes([len(inner) + 1]) + b"\x02" + bytes([inner[1] + 1, 0]) + inner[2:],
    ]
    for other in others:
        reason = refusal(envelope=edited(sig=_said(other)))
        assert "edited: the signature is not by a trusted key" in reason


def test_no_signature_and_several_in_one_envelope() -> None:
    one = json.loads(ENVELOPE)["signatures"]
    assert "no signatures" in refusal(envelope=edited(signatures=[]))
    assert "2 signatures" in refusal(envelope=edited(signatures=one * 2))
    other = json.loads(envelope_by(SECOND))["signatures"]
    assert "2 signatures" in refusal(envelope=edited(signatures=one + other), trusted=BOTH)


def test_a_threshold_counts_distinct_keys_that_signed_the_same() -> None:
    assert len(verified(envelope=TWICE, trusted=BOTH, threshold=2).keys) == 2
    assert "1 of the 2 distinct keys" in refusal(trusted=BOTH, threshold=2)
    assert "2 of the 3 distinct keys" in refusal(envelope=TWICE, trusted=BOTH, threshold=3)


def test_one_key_twice_counts_once() -> None:
    again = b"\n".join([ENVELOPE, ENVELOPE])
    assert len(verified(envelope=again).keys) == 1
    assert "1 of the 2 distinct keys" in refusal(envelope=again, trusted=BOTH, threshold=2)
    spaced = edited(extension=1)  # another text with the same signature
    both = b"\n".join([ENVELOPE, spaced])
    assert "1 of the 2 distinct keys" in refusal(envelope=both, trusted=BOTH, threshold=2)
    twice = (*TRUSTED, *TRUSTED)  # and so does a key that is named twice
    assert "1 of the 2" in refusal(envelope=again, trusted=twice, threshold=2)


def test_a_stranger_beside_a_trusted_signer() -> None:
    with_stranger = dsse.join([ENVELOPE, envelope_by(STRANGER)])
    assert "not by a trusted key" in refusal(envelope=with_stranger)


def test_signers_that_speak_of_different_modules_or_parameters() -> None:
    for other in (
        envelope_by(SECOND, archive=archive_of(action_digest="c" * 64)),
        envelope_by(SECOND, options={"unroll": "8"}),
    ):
        mixed = dsse.join([ENVELOPE, other])
        reason = refusal(envelope=mixed, trusted=BOTH, threshold=2)
        assert reason == "the signed statements are about different modules or parameters"
        assert refusal(envelope=mixed, trusted=BOTH, threshold=1) == reason


def test_one_key_that_says_two_things() -> None:
    other = envelope_by(SIGNER, options={"unroll": "8"})
    assert "different modules or parameters" in refusal(envelope=dsse.join([ENVELOPE, other]))


def test_too_many_envelopes() -> None:
    many = b"\n".join([ENVELOPE] * 17)
    assert "more than 16 signature envelopes" in refusal(envelope=many)
    assert verified(envelope=b"\n".join([ENVELOPE] * 16)).keys
    assert "larger" in refusal(envelope=ENVELOPE + b"\n" + b"x" * (1 << 20))


def test_signed_by_a_trusted_key_and_yet_no_statement_of_ours() -> None:
    value = json.loads(PAYLOAD)
    for name, new in (
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "https://cyclonedx.org/bom"),
        ("subject", []),
        ("subject", [{"name": "x", "digest": {"sha256": "0" * 64}}] * 2),
        ("predicate", {}),
    ):
        assert "signed statement" in refusal(
            envelope=sealed(json.dumps(value | {name: new}).encode())
        )
    for name in ("model", "name"):
        forged = envelope_by(SIGNER, **{name: "c" * 64})
        assert "another model, name or target" in refusal(envelope=forged)


def test_what_was_built_outside_the_sandbox() -> None:
    assert verified(require_sandbox=True).remarks == ()
    for sandbox, said in (("none", "outside the sandbox"), (None, "names no sandbox")):
        envelope = envelope_by(SIGNER, sandbox=sandbox)
        (remark,) = verified(envelope=envelope).remarks
        assert said in remark
        assert "--require-sandbox" in refusal(envelope=envelope, require_sandbox=True)
    mixed = dsse.join([ENVELOPE, envelope_by(SECOND, sandbox="none")])
    assert "outside the sandbox" in refusal(envelope=mixed, trusted=BOTH, require_sandbox=True)


def test_nobody_is_trusted() -> None:
    with pytest.raises(VerificationError, match="not by a trusted key"):
        verified(trusted=())
    assert LocalSigner.generate().public_key not in [key.key for key in TRUSTED]
    assert THIRD.public_key not in verified().keys
