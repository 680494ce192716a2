"""Keys that may not sign any more, keyrings that are not the newest, bundles somebody edited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from storage import dsse
from storage.bundle import check_bundle, envelope_in, sigstore_bundle
from storage.keyring import KEYRING_TYPE, Keyring, merged, open_keyring, seal_keyring
from storage.seen import check_seen
from storage.verify import verify_module
from tests.security.forged.world import (
    ARCHIVE,
    ENVELOPE,
    PAYLOAD,
    SECOND,
    SIGNER,
    STRANGER,
    TRUSTED,
    TVM,
    all_flips,
    envelope_by,
    refusal,
    sampled_flips,
    trusting,
    verified,
)
from tests.unit.storage.keyrings import DAY, NOW, ROOT, entry, keyring, retiring, revoked
from tinymlaas.contract.digest import canonical_json
from tinymlaas.contract.errors import VerificationError

RING = keyring(entry(SIGNER, TVM), retiring(SECOND, NOW + DAY, TVM))
KEYRING = seal_keyring(RING, ROOT)
BUNDLE = sigstore_bundle(ENVELOPE, SIGNER.public_key)


def test_a_revoked_key() -> None:
    reason = refusal(trusted=trusting(revoked(SIGNER, TVM)))
    assert f"the key {SIGNER.public_key.fingerprint[:16]}…" in reason
    assert "was revoked on 2026-05-31: laptop lost" in reason


def test_revocation_wins_over_a_second_word_for_the_same_key() -> None:
    for both in ((*TRUSTED, *trusting(revoked(SIGNER, TVM))),):
        assert "was revoked" in refusal(trusted=both)
        assert "was revoked" in refusal(trusted=tuple(reversed(both)))


def test_a_revoked_key_counts_for_no_threshold() -> None:
    twice = dsse.join([ENVELOPE, envelope_by(SECOND)])
    ring = trusting(entry(SIGNER, TVM), revoked(SECOND, TVM))
    reason = refusal(envelope=twice, trusted=ring, threshold=2)
    assert "1 of the 2 distinct keys" in reason
    assert "was revoked" in reason
    (remark,) = verified(envelope=twice, trusted=ring).remarks
    assert "was revoked" in remark


def test_an_expired_overlap_and_one_that_is_not() -> None:
    verified(trusted=trusting(retiring(SIGNER, NOW + timedelta(seconds=1), TVM)))
    reason = refusal(trusted=trusting(retiring(SIGNER, NOW, TVM)))
    assert "was rotated out, its overlap ended 2026-06-01 12:00 UTC" in reason


def test_a_key_before_and_after_its_time() -> None:
    late = trusting(entry(SIGNER, TVM, not_after=NOW))
    assert "was valid until" in refusal(trusted=late)
    early = trusting(entry(SIGNER, TVM, not_before=NOW + DAY))
    assert "not valid before 2026-06-02" in refusal(trusted=early)


def test_downgrade_to_an_older_envelope() -> None:
    """What the key before last signed is put in the place of what is there now."""
    rotated = trusting(retiring(SIGNER, NOW - DAY, TVM), entry(SECOND, TVM))
    verified(envelope=envelope_by(SECOND), trusted=rotated)
    assert "was rotated out" in refusal(envelope=ENVELOPE, trusted=rotated)


def test_downgrade_to_an_older_keyring(tmp_path: Path) -> None:
    """The older one does not know yet that the key was revoked."""
    newer = merged(RING, [revoked(SIGNER, TVM)], NOW)
    check_seen(tmp_path, newer, seal_keyring(newer, ROOT))
    with pytest.raises(VerificationError, match="version 2 was seen before"):
        check_seen(tmp_path, open_keyring(KEYRING), KEYRING)


def _refused(data: bytes) -> str:
    """A keyring by whatever root: it is refused, or it is by another root than ours."""
    with pytest.raises(VerificationError) as caught:
        open_keyring(data, ROOT.public_key.fingerprint)
    assert str(caught.value).isprintable()
    return str(caught.value)


def _check_keyring(flips: Iterator[tuple[int, bytes]]) -> int:
    count = 0
    for _, data in flips:
        _refused(data)
        with pytest.raises(VerificationError):  # nor is it believed by who sees it first
            open_keyring(data)
        count += 1
    return count


def test_flipped_bits_all_over_the_keyring() -> None:
    assert _check_keyring(sampled_flips(KEYRING, 7, 4)) > 200


@pytest.mark.slow
def test_every_bit_of_the_keyring() -> None:
    assert _check_keyring(all_flips(KEYRING)) == 8 * len(KEYRING)


def test_a_keyring_that_a_stranger_signed() -> None:
    payload = canonical_json(RING.model_dump(mode="json"))
    assert "not what its root has signed" in _refused(dsse.seal(KEYRING_TYPE, payload, STRANGER))
    assert "not what its root has signed" in _refused(dsse.seal(KEYRING_TYPE, payload, SIGNER))
    theirs = RING.model_copy(update={"root": STRANGER.public_key.pem.decode()})
    assert "is signed by root" in _refused(seal_keyring(theirs, STRANGER))


def test_a_module_statement_is_no_keyring_and_a_keyring_no_statement() -> None:
    _refused(ENVELOPE)
    payload = canonical_json(RING.model_dump(mode="json"))
    assert "another payload type" in refusal(envelope=dsse.seal(KEYRING_TYPE, payload, SIGNER))
    assert "malformed" in _refused(dsse.seal(KEYRING_TYPE, PAYLOAD, ROOT))


def test_an_edited_keyring() -> None:
    """Every way to get a revoked key back in: each needs the root's signature."""
    ring = merged(RING, [revoked(SIGNER, TVM)], NOW)
    sealed = json.loads(seal_keyring(ring, ROOT))
    for change in (
        {"keys": [entry(SIGNER, TVM).model_dump(mode="json")]},
        {"version": 9},
        {"threshold": 1, "keys": []},
    ):
        value = ring.model_dump(mode="json") | change
        payload = dsse.seal(KEYRING_TYPE, canonical_json(value), STRANGER)
        forged = json.loads(payload) | {"signatures": sealed["signatures"]}
        assert "not what its root has signed" in _refused(canonical_json(forged))
    assert isinstance(open_keyring(canonical_json(sealed)), Keyring)


def _bundle(data: bytes) -> None:
    """What `tinymlaas verify --bundle` does."""
    module = verify_module(ARCHIVE, envelope_in(data), TRUSTED)
    check_bundle(data, module.envelopes[0], module.key)


def _check_bundle(flips: Iterator[tuple[int, bytes]]) -> int:
    count = 0
    for position, data in flips:
        with pytest.raises(VerificationError) as caught:
            _bundle(data)
        assert str(caught.value).isprintable(), position
        count += 1
    return count


def test_flipped_bits_all_over_the_bundle() -> None:
    _bundle(BUNDLE)
    assert _check_bundle(sampled_flips(BUNDLE, 9, 5)) > 200


@pytest.mark.slow
def test_every_bit_of_the_bundle() -> None:
    assert _check_bundle(all_flips(BUNDLE)) == 8 * len(BUNDLE)


def test_bundles_that_somebody_edited() -> None:
    value = json.loads(BUNDLE)
    for name, new in (
        ("mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.2"),
        ("verificationMaterial", {"publicKey": {"hint": "x"}}),
        ("verificationMaterial", {}),
        ("dsseEnvelope", {}),
        ("dsseEnvelope", None),
        ("extra", {}),
        ("dsseEnvelope", json.loads(envelope_by(STRANGER))),
    ):
        with pytest.raises(VerificationError):
            _bundle(canonical_json(value | {name: new}))
    for data in (BUNDLE + b"\n", b" " + BUNDLE, BUNDLE[:-1], b"", b"[]", ENVELOPE):
        with pytest.raises(VerificationError):
            _bundle(data)
