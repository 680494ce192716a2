"""Keys made, rotated and revoked in a real folder, and whom a user trusts after each."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import key_folder
from storage.keyring import KeyStatus
from storage.provenance import LOCAL_BUILDER, pool_builder
from storage.signing import LocalSigner
from tests.unit.storage import processes
from tests.unit.storage.keyrings import DAY
from tinymlaas import keyrings, listing, trust
from tinymlaas.contract.errors import StoreError, UsageError, VerificationError
from tinymlaas.settings import Settings, from_environment

TVM = pool_builder("tvm")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def _settings(folder: Path, keyring: Path | None = None) -> Settings:
    return Settings(folder / "store", folder / "cache", folder / "keys", (), keyring=keyring)


def test_new_makes_a_key_once_and_names_all_that_are_there(tmp_path: Path) -> None:
    local = key_folder.signing_key(tmp_path).signer.public_key
    made = keyrings.new(tmp_path, TVM, 365 * DAY, NOW)
    assert {e.builders for e in made.keyring.keys} == {(LOCAL_BUILDER,), (TVM,)}
    entry = next(e for e in made.keyring.keys if e.builders == (TVM,))
    assert entry.not_after == NOW + 365 * DAY
    assert entry.key == key_folder.public_key_of(tmp_path, TVM)
    assert made.keyring.entry(local.fingerprint) is not None
    with pytest.raises(UsageError, match=r"already.*rotate"):
        keyrings.new(tmp_path, TVM, None, NOW)
    assert keyrings.own_keyring(tmp_path) == made.keyring


def test_rotation_with_overlap(tmp_path: Path) -> None:
    old = keyrings.new(tmp_path, TVM, None, NOW).keyring.keys[0]
    turned = keyrings.rotate(tmp_path, TVM, 30 * DAY, None, NOW + DAY)
    before, after = turned.keyring.keys
    assert (before.status, before.overlap_end) == (KeyStatus.RETIRING, NOW + 31 * DAY)
    assert before.fingerprint == old.fingerprint
    assert after.status is KeyStatus.ACTIVE
    assert key_folder.signing_key(tmp_path, TVM).signer.public_key == after.key
    assert turned.keyring.version == 2
    with pytest.raises(UsageError, match="no key here"):
        keyrings.rotate(tmp_path, pool_builder("tflm"), DAY, None, NOW)


def test_rotation_leaves_the_second_signer_alone(tmp_path: Path) -> None:
    """Its private half lies elsewhere: nothing has taken its place, and a threshold counts it."""
    own = keyrings.new(tmp_path, TVM, None, NOW).keyring.keys[0]
    other = LocalSigner.generate().public_key
    keyrings.add(tmp_path, other, TVM, None, NOW)
    keyrings.set_threshold(tmp_path, 2, NOW)
    turned = keyrings.rotate(tmp_path, TVM, 30 * DAY, None, NOW + DAY).keyring
    status = {each.fingerprint: each.status for each in turned.keys}
    fresh = key_folder.signing_key(tmp_path, TVM).signer.public_key.fingerprint
    assert status == {
        own.fingerprint: KeyStatus.RETIRING,
        other.fingerprint: KeyStatus.ACTIVE,
        fresh: KeyStatus.ACTIVE,
    }


def test_revoking_says_for_whom_too_few_keys_sign_from_now_on(tmp_path: Path) -> None:
    own = keyrings.new(tmp_path, TVM, None, NOW).keyring.keys[0]
    keyrings.new(tmp_path, pool_builder("tflm"), None, NOW)
    other, third = (LocalSigner.generate().public_key for _ in range(2))
    for key in (other, third):
        keyrings.add(tmp_path, key, TVM, None, NOW)
    keyrings.add(tmp_path, third, LOCAL_BUILDER, DAY, NOW)
    keyrings.set_threshold(tmp_path, 2, NOW)

    def warnings(fingerprint: str) -> list[str]:
        done = keyrings.revoke(tmp_path, fingerprint, "lost", NOW).done
        return [line for line in done if line.startswith("warning: ")]

    assert not warnings(other.fingerprint)
    (said,) = warnings(own.fingerprint)
    assert f"for {TVM} sign 1 keys, and a module needs 2" in said
    assert len(warnings(third.fingerprint)) == 2, "it spoke for two builders"


@pytest.mark.parametrize("where", ["keyring saved", "key made"])
def test_a_rotation_that_was_killed_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    keyrings.new(tmp_path, TVM, None, NOW)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if where == "keyring saved":
            patch.setattr(key_folder, "put_next_in_place", die)
        else:
            patch.setattr(keyrings, "_save", die)
        with pytest.raises(KeyboardInterrupt):
            keyrings.rotate(tmp_path, TVM, 30 * DAY, None, NOW)
    waiting = key_folder.next_key(tmp_path, TVM).signer.public_key
    done = keyrings.rotate(tmp_path, TVM, 30 * DAY, None, NOW + DAY)
    assert key_folder.public_key_of(tmp_path, TVM) == waiting
    assert [e.status for e in done.keyring.keys] == [KeyStatus.RETIRING, KeyStatus.ACTIVE]
    assert done.keyring.version == 2
    assert not list(tmp_path.glob("*.next.key"))
    assert not list(tmp_path.glob("*.tmp"))


def test_revoking_deletes_the_private_half(tmp_path: Path) -> None:
    entry = keyrings.new(tmp_path, TVM, None, NOW).keyring.keys[0]
    gone = keyrings.revoke(tmp_path, entry.fingerprint[:8], "stolen\n", NOW)
    found = gone.keyring.keys[0]
    assert (found.status, found.reason, found.revoked_at) == (KeyStatus.REVOKED, "stolen", NOW)
    assert not key_folder.private_path(tmp_path, TVM).exists()
    again = keyrings.revoke(tmp_path, entry.fingerprint, "twice", NOW + DAY)
    assert again.keyring == gone.keyring
    fresh = keyrings.new(tmp_path, TVM, None, NOW + DAY).keyring.keys
    assert [e.status for e in fresh] == [KeyStatus.REVOKED, KeyStatus.ACTIVE]


@pytest.mark.parametrize(
    ("prefix", "reason", "said"),
    [
        ("00000000", "x", "no key begins so"),
        ("0", "x", "8 digits"),
        ("", "x", "8 digits"),
        ("00000000", " ", "--reason"),
        ("00000000", "x" * 201, "--reason"),
    ],
)
def test_revoking_something_else_is_refused(
    tmp_path: Path, prefix: str, reason: str, said: str
) -> None:
    keyrings.new(tmp_path, TVM, None, NOW)
    with pytest.raises(UsageError, match=said):
        keyrings.revoke(tmp_path, prefix, reason, NOW)


def test_the_root_is_not_revoked_by_itself(tmp_path: Path) -> None:
    root = keyrings.new(tmp_path, TVM, None, NOW).keyring.root_key
    with pytest.raises(UsageError, match="root key"):
        keyrings.revoke(tmp_path, root.fingerprint, "x", NOW)


def test_the_root_may_lie_elsewhere(tmp_path: Path) -> None:
    keyrings.new(tmp_path, TVM, None, NOW)
    (tmp_path / "root.key").rename(tmp_path.parent / "root.key")
    assert keyrings.own_keyring(tmp_path) is not None
    with pytest.raises(StoreError, match="only it can sign"):
        keyrings.rotate(tmp_path, TVM, DAY, None, NOW)
    assert not (tmp_path / "root.key").exists()
    (tmp_path.parent / "root.key").rename(tmp_path / "root.key")
    keyrings.rotate(tmp_path, TVM, DAY, None, NOW)


def test_a_keyring_by_another_root_is_not_the_own(tmp_path: Path) -> None:
    keyrings.new(tmp_path / "a", TVM, None, NOW)
    keyrings.new(tmp_path / "b", TVM, None, NOW)
    os.replace(tmp_path / "b" / "keyring.json", tmp_path / "a" / "keyring.json")
    with pytest.raises(StoreError, match="is signed by root"):
        keyrings.own_keyring(tmp_path / "a")


def test_a_threshold_is_met_by_keys_that_sign(tmp_path: Path) -> None:
    keyrings.new(tmp_path, TVM, None, NOW)
    with pytest.raises(UsageError, match="1 are active"):
        keyrings.set_threshold(tmp_path, 2, NOW)
    keyrings.new(tmp_path, pool_builder("tflm"), None, NOW)
    assert keyrings.set_threshold(tmp_path, 2, NOW).keyring.threshold == 2
    own = keyrings.own_keyring(tmp_path)
    assert own is not None
    assert own.threshold == 2


def test_a_key_from_elsewhere_is_named(tmp_path: Path) -> None:
    theirs = LocalSigner.generate().public_key
    keyrings.new(tmp_path, TVM, None, NOW)
    first = keyrings.add(tmp_path, theirs, TVM, None, NOW).keyring
    assert [e.builders for e in first.keys] == [(TVM,), (TVM,)]
    more = keyrings.add(tmp_path, theirs, LOCAL_BUILDER, None, NOW).keyring
    assert more.keys[1].builders == (TVM, LOCAL_BUILDER)
    assert keyrings.add(tmp_path, theirs, TVM, None, NOW).keyring == more
    with pytest.raises(UsageError, match="root key"):
        keyrings.add(tmp_path, more.root_key, TVM, None, NOW)
    keyrings.revoke(tmp_path, theirs.fingerprint, "x", NOW)
    with pytest.raises(UsageError, match="revoked and stays so"):
        keyrings.add(tmp_path, theirs, TVM, None, NOW)


_ADOPT = """
import os, sys
from pathlib import Path
from storage.key_folder import signing_key
from storage.provenance import pool_builder
from tinymlaas.keyrings import adopt
signing_key(Path(sys.argv[1]), pool_builder(f"p{os.getpid()}"))
print("ready", flush=True)
sys.stdin.readline()
print(adopt(Path(sys.argv[1])))
"""


def test_processes_that_adopt_at_once_lose_no_key(tmp_path: Path) -> None:
    assert len(processes.all_at_once(_ADOPT, 4, tmp_path / "keys")) == 4
    ring = keyrings.own_keyring(tmp_path / "keys")
    assert ring is not None
    assert len(ring.keys) == 4


def test_adopting_names_new_keys_and_leaves_others(tmp_path: Path) -> None:
    key_folder.signing_key(tmp_path, TVM)
    path = keyrings.adopt(tmp_path, NOW)
    first = path.read_bytes()
    assert keyrings.adopt(tmp_path, NOW + DAY).read_bytes() == first
    key_folder.signing_key(tmp_path, pool_builder("tflm"))
    keyrings.adopt(tmp_path, NOW + DAY)
    ring = keyrings.own_keyring(tmp_path)
    assert ring is not None
    assert (ring.version, len(ring.keys)) == (2, 2)


def test_own_trust_goes_from_no_key_to_a_keyring(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    with pytest.raises(UsageError, match="no signing key yet"):
        trust.own_trust(settings)
    own = key_folder.signing_key(settings.keys).signer.public_key
    assert [t.key for t in trust.own_trust(settings).trusted] == [own]
    keyrings.revoke(settings.keys, own.fingerprint, "lost", NOW)
    (revoked,) = trust.own_trust(settings, NOW + DAY).trusted
    assert "was revoked" in str(revoked.refusal)
    fresh = key_folder.signing_key(settings.keys).signer.public_key  # made by the next compile
    keys = {t.key: t.refusal for t in trust.own_trust(settings, NOW + DAY).trusted}
    assert keys[fresh] is None


def test_a_keyring_from_elsewhere_is_remembered(tmp_path: Path) -> None:
    farm, mine = tmp_path / "farm", _settings(tmp_path / "mine")
    keyrings.new(farm, TVM, None, NOW)
    old = (farm / "keyring.json").read_bytes()
    (remark,) = trust.keyring_trust(mine, farm / "keyring.json").remarks
    root = key_folder.root_public_key(farm)
    assert root is not None
    assert root.fingerprint in remark
    keyrings.rotate(farm, TVM, DAY, None, NOW)
    assert not trust.keyring_trust(mine, farm / "keyring.json").remarks
    (farm / "old.json").write_bytes(old)
    with pytest.raises(VerificationError, match="version 1, and version 2 was seen"):
        trust.keyring_trust(mine, farm / "old.json")
    with pytest.raises(VerificationError, match="is signed by root"):
        trust.keyring_trust(mine, farm / "keyring.json", root="0" * 64)
    named = _settings(tmp_path / "mine", farm / "keyring.json")
    assert len(trust.own_trust(named, NOW + timedelta(seconds=1)).trusted) == 2


@pytest.mark.parametrize("text", ["", "zz", "0" * 63, "sha256:"])
def test_a_root_is_a_whole_fingerprint(text: str) -> None:
    with pytest.raises(UsageError, match="64 hex digits"):
        trust.checked_fingerprint(text)


def test_key_trust_speaks_for_the_builders_named(tmp_path: Path) -> None:
    pem = tmp_path / "key.pub"
    pem.write_bytes(key_folder.signing_key(tmp_path / "k").signer.public_key.pem)
    assert trust.key_trust(pem).trusted[0].builders == {LOCAL_BUILDER}
    named = trust.key_trust(pem, ["tvm", "urn:other"]).trusted[0].builders
    assert named == {TVM, "urn:other"}
    with pytest.raises(UsageError, match="--builder"):
        trust.key_trust(pem, ["a b"])


def test_the_listing_says_in_words_how_each_key_stands(tmp_path: Path) -> None:
    assert listing.report(tmp_path, NOW).keys == ()
    key_folder.signing_key(tmp_path)
    (row,) = listing.report(tmp_path, NOW).keys
    assert (row.status, row.standing) == ("unlisted", "signs; no keyring names it")
    keyrings.new(tmp_path, TVM, 10 * DAY, NOW)
    keyrings.rotate(tmp_path, TVM, 30 * DAY, None, NOW)
    first = keyrings.rotate(tmp_path, TVM, 30 * DAY, 5 * DAY, NOW + DAY).keyring.keys[0]
    rows = {row.fingerprint: row for row in listing.report(tmp_path, NOW + 2 * DAY).keys}
    assert "accepted until 2026-07-01 (28 days left)" in rows[first.fingerprint].standing
    here = [row for row in rows.values() if row.signs_here]
    assert {row.builders[0] for row in here} == {LOCAL_BUILDER, TVM}
    late = listing.report(tmp_path, NOW + 60 * DAY)
    words = sorted(row.standing for row in late.keys)
    assert words == [
        "expired 2026-06-07: rotate it",
        "rotated out, its overlap ended 2026-07-01",
        "rotated out, its overlap ended 2026-07-02",
        "signs",
    ]


def test_the_environment_names_the_keyring() -> None:
    home = {"HOME": "/home/u"}
    assert from_environment(home).keyring is None
    named = from_environment(home | {"TINYMLAAS_KEYRING": "/srv/keyring.json"})
    assert named.keyring == Path("/srv/keyring.json")


def test_who_signs_for_a_pool_now_follows_the_file(tmp_path: Path) -> None:
    assert trust.signers_of(_settings(tmp_path))("tvm") == frozenset()
    ring = tmp_path / "keys" / "keyring.json"
    signers = trust.signers_of(_settings(tmp_path, ring))
    assert signers("tvm") == frozenset()
    first = keyrings.new(tmp_path / "keys", TVM, None, NOW).keyring.keys[0]
    assert signers("tvm") == {first.fingerprint}
    assert signers("tflm") == frozenset()
    second = keyrings.rotate(tmp_path / "keys", TVM, 1000 * DAY, None, NOW).keyring.keys[1]
    assert signers("tvm") == {second.fingerprint}
    keyrings.revoke(tmp_path / "keys", second.fingerprint, "lost", NOW)
    assert signers("tvm") == frozenset()
    ring.write_bytes(b"{}")
    with pytest.raises(StoreError, match="malformed"):
        signers("tvm")
    ring.unlink()
    ring.mkdir()
    with pytest.raises(StoreError, match="cannot read"):
        signers("tvm")
