from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from storage import dsse
from storage.keyring import (
    KEYRING_TYPE,
    KeyStatus,
    merged,
    open_keyring,
    seal_keyring,
)
from storage.seen import check_seen
from storage.signing import LocalSigner
from tests.unit.storage.keyrings import DAY, NOW, ROOT, entry, keyring, retiring, revoked
from tinymlaas.contract.digest import canonical_json
from tinymlaas.contract.errors import StoreError, VerificationError

ONE, TWO = LocalSigner.generate(), LocalSigner.generate()
SECOND = timedelta(seconds=1)


def test_round_trip_and_the_same_bytes_each_time() -> None:
    ring = keyring(entry(ONE), retiring(TWO, NOW + DAY), threshold=2)
    data = seal_keyring(ring, ROOT)
    assert open_keyring(data) == ring
    assert open_keyring(data, ROOT.public_key.fingerprint) == ring
    assert seal_keyring(open_keyring(data), ROOT) == data


def test_only_its_root_signs_it() -> None:
    ring = keyring(entry(ONE))
    with pytest.raises(VerificationError, match="another root"):
        seal_keyring(ring, ONE)
    other = LocalSigner.generate()
    forged = dsse.seal(KEYRING_TYPE, canonical_json(ring.model_dump(mode="json")), other)
    with pytest.raises(VerificationError, match="not what its root has signed"):
        open_keyring(forged)
    theirs = keyring(entry(ONE), root=other.public_key.pem.decode())
    with pytest.raises(VerificationError, match="is signed by root"):
        open_keyring(seal_keyring(theirs, other), ROOT.public_key.fingerprint)


def test_an_envelope_of_something_else_is_no_keyring() -> None:
    payload = canonical_json(keyring(entry(ONE)).model_dump(mode="json"))
    with pytest.raises(VerificationError, match="another payload type"):
        open_keyring(dsse.seal("application/vnd.in-toto+json", payload, ROOT))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "update"),
        ({"version": 0}, "version"),
        ({"surplus": 1}, "surplus"),
        ({"threshold": 0}, "threshold"),
        ({"root": "no key"}, "root"),
        ({"made": "2026-06-01"}, "no time in UTC"),
        ({"made": "2026-06-01T12:00:00+02:00"}, "no time in UTC"),
        ({"keys": "x"}, "keys"),
    ],
)
def test_malformed_keyrings_say_what_is_wrong(change: dict[str, object], reason: str) -> None:
    value = keyring(entry(ONE)).model_dump(mode="json") | change
    with pytest.raises(VerificationError, match=reason):
        open_keyring(dsse.seal(KEYRING_TYPE, canonical_json(value), ROOT))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fingerprint": "0" * 64}, "fingerprint is not"),
        ({"status": "retiring"}, "no overlap_end"),
        ({"status": "revoked"}, "revoked_at and reason"),
        ({"reason": "x"}, "revoked_at and reason"),
        ({"builders": []}, "builders"),
        ({"builders": ["a b"]}, "builders"),
        ({"public_key": "-----BEGIN"}, "no public key"),
        ({"public_key": ONE.private_pem().decode()}, "private key"),
        ({"status": "trusted"}, "status"),
    ],
)
def test_malformed_entries_say_what_is_wrong(change: dict[str, object], reason: str) -> None:
    value = keyring(entry(ONE)).model_dump(mode="json")
    value["keys"][0] |= change
    with pytest.raises(VerificationError, match=reason):
        open_keyring(dsse.seal(KEYRING_TYPE, canonical_json(value), ROOT))


@pytest.mark.parametrize("change", [{"version": "1"}, {"version": True}, {"version": 1.0}])
def test_one_value_has_one_form(change: dict[str, object]) -> None:
    value = keyring(entry(ONE)).model_dump(mode="json") | change
    with pytest.raises(VerificationError, match="malformed"):
        open_keyring(dsse.seal(KEYRING_TYPE, canonical_json(value), ROOT))
    spaced = canonical_json(keyring(entry(ONE)).model_dump(mode="json")).replace(b",", b", ", 1)
    with pytest.raises(VerificationError, match="not in the form that we write"):
        open_keyring(dsse.seal(KEYRING_TYPE, spaced, ROOT))


NAMES = st.sampled_from(["format", "version", "made", "root", "threshold", "keys", "x"])
ENTRY = st.sampled_from(["fingerprint", "builders", "not_before", "status", "reason", "revoked_at"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.sampled_from(["0000-99-99T99:99:99Z", "9999-12-31T23:59:59Z", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(NAMES, ENTRY, VALUES)
def test_fuzz_signed_nonsense(name: str, field: str, value: object) -> None:
    """Nothing but our own refusal comes of any keyring, though its root signed it."""
    whole = keyring(entry(ONE)).model_dump(mode="json")
    for odd in (
        whole | {name: value},
        whole | {"keys": [whole["keys"][0] | {field: value}]},
        value,
    ):
        data = dsse.seal(KEYRING_TYPE, json.dumps(odd).encode(), ROOT)
        with contextlib.suppress(VerificationError):
            open_keyring(data)


def test_a_key_stands_once_and_the_root_signs_no_modules() -> None:
    with pytest.raises(ValidationError, match="named twice"):
        keyring(entry(ONE), entry(ONE))
    with pytest.raises(ValidationError, match="root key"):
        keyring(entry(ROOT))


def test_the_clock_decides_to_the_second() -> None:
    lap = retiring(ONE, NOW)
    assert lap.refusal(NOW - SECOND) is None
    assert "overlap ended 2026-06-01 12:00 UTC" in str(lap.refusal(NOW))
    ends = entry(ONE, not_after=NOW)
    assert ends.refusal(NOW - SECOND) is None
    assert "was valid until" in str(ends.refusal(NOW))
    begins = entry(ONE, not_before=NOW)
    assert begins.refusal(NOW) is None
    assert "not valid before" in str(begins.refusal(NOW - SECOND))


def test_revocation_wins_over_everything_at_any_time() -> None:
    gone = revoked(ONE, overlap_end=NOW + DAY, not_after=NOW + DAY)
    for moment in (NOW - 100 * DAY, NOW, NOW + 100 * DAY):
        assert gone.refusal(moment) == "was revoked on 2026-05-31: laptop lost"


def test_a_change_is_the_next_version() -> None:
    ring = keyring(entry(ONE))
    after = merged(ring, [revoked(ONE), entry(TWO)], NOW + DAY)
    assert (after.version, after.made) == (2, NOW + DAY)
    assert [each.status for each in after.keys] == [KeyStatus.REVOKED, KeyStatus.ACTIVE]
    assert [key.refusal is None for key in after.trusted(NOW)] == [False, True]


def test_what_was_seen_is_never_gone_behind(tmp_path: Path) -> None:
    folder = tmp_path / "seen"
    old = keyring(entry(ONE))
    new = merged(old, [revoked(ONE)], NOW)
    signed = {ring.version: seal_keyring(ring, ROOT) for ring in (old, new)}
    assert check_seen(folder, old, signed[1])
    assert not check_seen(folder, old, signed[1])
    assert not check_seen(folder, new, signed[2])
    with pytest.raises(VerificationError, match="version 1, and version 2 was seen"):
        check_seen(folder, old, signed[1])
    assert not check_seen(folder, new, signed[2])
    twin = keyring(entry(TWO), version=2)
    with pytest.raises(VerificationError, match="two keyrings of version 2"):
        check_seen(folder, twin, seal_keyring(twin, ROOT))


def test_keyrings_of_other_roots_do_not_disturb(tmp_path: Path) -> None:
    other = LocalSigner.generate()
    theirs = keyring(entry(TWO), root=other.public_key.pem.decode())
    ours = keyring(entry(ONE), version=7)
    assert check_seen(tmp_path, ours, seal_keyring(ours, ROOT))
    assert check_seen(tmp_path, theirs, seal_keyring(theirs, other))


def test_what_cannot_be_remembered_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("a file where the folder should be")
    ring = keyring(entry(ONE))
    with pytest.raises(StoreError, match="cannot remember"):
        check_seen(tmp_path / "seen", ring, seal_keyring(ring, ROOT))


def test_json_says_times_in_one_form() -> None:
    payload = json.loads(canonical_json(keyring(entry(ONE)).model_dump(mode="json")))
    assert payload["made"] == "2026-06-01T12:00:00Z"
