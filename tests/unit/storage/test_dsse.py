from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from storage import dsse
from storage.signing import LocalSigner, load_public_key, normalised
from tinymlaas.contract.errors import VerificationError

SIGNER = LocalSigner.generate()
KEY = SIGNER.public_key
KIND = "application/vnd.in-toto+json"
SEALED = dsse.seal(KIND, b'{"a":1}', SIGNER)


def test_pae_is_that_of_the_specification() -> None:
    """DSSE protocol, "Test vectors"."""
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == expected
    assert dsse.pae("ü", b"") == b"DSSEv1 2 \xc3\xbc 0 "


def test_round_trip_and_the_same_bytes_each_time() -> None:
    assert dsse.open_envelope(SEALED, KIND, [KEY]) == (b'{"a":1}', KEY)
    assert dsse.seal(KIND, b'{"a":1}', SIGNER) == SEALED
    assert b"\n" not in SEALED


def test_every_trusted_key_is_tried() -> None:
    others = [LocalSigner.generate().public_key for _ in range(3)]
    assert dsse.open_envelope(SEALED, KIND, [*others, KEY])[1] == KEY


def _changed(**changes: Any) -> bytes:
    value = json.loads(SEALED)
    for name, new in changes.items():
        target = value["signatures"][0] if name in {"sig", "keyid"} else value
        if new is None:
            target.pop(name)
        else:
            target[name] = new
    return json.dumps(value).encode()


def _refusal(data: bytes, *keys: Any) -> str:
    with pytest.raises(VerificationError) as caught:
        dsse.open_envelope(data, KIND, keys or [KEY])
    return str(caught.value)


SIG = json.loads(SEALED)["signatures"][0]["sig"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "malformed"),
        (b"\xff\xfe", "UTF-8"),
        (b"{", "malformed"),
        (b"null", "no JSON object"),
        (b"[]", "no JSON object"),
        (b"{}", "no list of signatures"),
        (b"[" * 200_000, "malformed"),
        (SEALED + SEALED, "malformed"),
        (SEALED[:-1], "malformed"),
        (b"\xef\xbb\xbf" + SEALED, "malformed"),
        (SEALED[:-1] + b',"payloadType":"x"}', "same key twice"),
        (b" " * (2 << 20), "larger"),
        (_changed(payload=None), "payload is missing"),
        (_changed(payload=7), "payload is missing or no text"),
        (_changed(payload="a"), "base64"),
        (_changed(payload="e y="), "base64"),
        (_changed(payload="eyJhIjoxf\u200bQ=="), "plain text"),
        (_changed(payload="e+-_"), "canonical"),  # two alphabets at once
        (_changed(payloadType=None), "payloadType is missing"),
        (_changed(payloadType="\ud800"), "payloadType is no plain text"),
        (_changed(signatures=None), "no list of signatures"),
        (_changed(signatures={}), "no list of signatures"),
        (_changed(signatures=[]), "no signatures"),
        (_changed(signatures=[{"sig": SIG}] * 2), "has 2 signatures"),
        (_changed(signatures=["sig"]), "no JSON object"),
        (_changed(sig=None), "sig is missing"),
        (_changed(sig="!"), "sig is no base64"),
        (_changed(keyid=7), "keyid is missing or no text"),
        (_changed(sig=""), "not by a trusted key"),
        (_changed(sig=base64.b64encode(b"0" * 70).decode()), "not by a trusted key"),
        (_changed(payload=base64.b64encode(b'{"a":2}').decode()), "not by a trusted key"),
        (_changed(payloadType="text/plain"), "another payload type: 'text/plain'"),
    ],
)
def test_refusals_name_their_reason(data: bytes, reason: str) -> None:
    assert reason in _refusal(data)


def test_base64_must_be_canonical() -> None:
    text = base64.b64encode(b"a").decode()
    assert text == "YQ=="
    assert base64.b64decode("YR==") == b"a"  # another text for the same bytes
    assert "canonical" in _refusal(_changed(payload="YR=="))


def test_url_safe_base64_is_as_good() -> None:
    data = dsse.seal(KIND, b"\xfb\xff\xfe" * 20, SIGNER)
    value = json.loads(data)
    assert set(value["payload"]) & {"+", "/"}
    value["payload"] = value["payload"].replace("+", "-").replace("/", "_")
    assert dsse.open_envelope(json.dumps(value).encode(), KIND, [KEY])[1] == KEY


def test_unknown_fields_are_ignored_as_the_specification_asks() -> None:
    assert dsse.open_envelope(_changed(extension={"a": 1}), KIND, [KEY])[1] == KEY


def test_another_key_is_refused_and_the_trusted_one_named() -> None:
    other = LocalSigner.generate().public_key
    reason = _refusal(SEALED, other)
    assert "not by a trusted key" in reason
    assert other.fingerprint[:16] in reason


def test_no_trusted_key_means_no() -> None:
    with pytest.raises(VerificationError, match="none"):
        dsse.open_envelope(SEALED, KIND, [])


def test_a_keyid_earns_no_trust_and_must_not_lie() -> None:
    forger = LocalSigner.generate()
    forged = json.loads(dsse.seal(KIND, b"{}", forger))
    forged["signatures"][0]["keyid"] = KEY.fingerprint
    assert "not by a trusted key" in _refusal(json.dumps(forged).encode())
    for honest in ("", KEY.fingerprint):
        assert dsse.open_envelope(_changed(keyid=honest), KIND, [KEY])[1] == KEY
    assert "keyid" in _refusal(_changed(keyid=forger.public_key.fingerprint))
    assert "keyid" in _refusal(
        _changed(keyid=forger.public_key.fingerprint), forger.public_key, KEY
    )


def test_securesystemslib_verifies_ours() -> None:
    value = json.loads(_changed(keyid=KEY.fingerprint))  # that library insists on a keyid
    peer = SSlibKey.from_crypto(KEY._key, KEY.fingerprint, "ecdsa-sha2-nistp256")
    assert PeerEnvelope.from_dict(value).verify([peer], 1) == {KEY.fingerprint: peer}


def test_ours_verifies_what_securesystemslib_signs() -> None:
    signer = CryptoSigner.generate_ecdsa()
    key = load_public_key(signer.public_key.keyval["public"].encode())
    signer.public_key.keyid = key.fingerprint
    peer = PeerEnvelope(b'{"b":2}', KIND, {})
    peer.sign(signer)
    value = peer.to_dict()
    (signature,) = value["signatures"]
    raw = base64.b64decode(signature["sig"])
    signature["sig"] = base64.b64encode(normalised(raw)).decode()  # half of the time as it was
    assert dsse.open_envelope(json.dumps(value).encode(), KIND, [key]) == (b'{"b":2}', key)
