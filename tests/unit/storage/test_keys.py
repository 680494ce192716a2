from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import keys
from storage.keys import Key
from tinymlaas.contract.errors import StoreError

DIGEST = "0123456789abcdef" * 4


def test_layout() -> None:
    assert keys.blob(DIGEST).path == f"blobs/sha256/01/{DIGEST}"
    assert keys.action_outcome("cc", DIGEST).path == f"actions/cc/{DIGEST}/outcome.json"
    assert keys.accuracy("cc", DIGEST).path == f"accuracies/cc/{DIGEST}/outcome.json"
    reference = keys.model_reference("cc", DIGEST, "f" * 64)
    assert reference.path == f"references/cc/{DIGEST}/{'f' * 64}.npz"
    assert keys.module_archive(DIGEST).path == f"modules/{DIGEST}/module.zip"
    assert keys.model_summary(DIGEST, "v1").path == f"models/{DIGEST}/summary/v1.json"
    envelope = keys.module_envelope(DIGEST, "f" * 64)
    assert envelope.path == f"modules/{DIGEST}/provenance/{'f' * 64}.intoto.jsonl"


def test_a_tenant_has_what_is_its_own_below_its_name() -> None:
    archive, envelope = keys.module_archive(DIGEST), keys.module_envelope(DIGEST, "f" * 64)
    assert keys.given("acme", archive).path == f"tenants/acme/modules/{DIGEST}/module.zip"
    assert keys.given("acme", archive).sha256 == DIGEST
    assert keys.given("acme", envelope).path == f"tenants/acme/{envelope.path}"
    assert keys.tenant_log("acme", DIGEST).sha256 == DIGEST
    with pytest.raises(StoreError, match="no module's"):
        keys.given("acme", keys.blob(DIGEST))
    with pytest.raises(StoreError, match="layout"):
        keys.given("../acme", archive)


def test_only_content_addressed_keys_carry_a_digest() -> None:
    assert keys.blob(DIGEST).sha256 == DIGEST
    assert keys.module_archive(DIGEST).sha256 == DIGEST
    assert keys.action_outcome("cc", DIGEST).sha256 is None
    assert keys.module_envelope(DIGEST, DIGEST).sha256 is None
    assert keys.model_summary(DIGEST, "v1").sha256 is None


BAD_DIGESTS = [
    "",
    "a",
    "../" * 21 + "a",
    DIGEST.upper(),
    DIGEST[:-1],
    DIGEST + "0",
    DIGEST + "\n",
    DIGEST[:-1] + "/",
    DIGEST[:-1] + "\u0660",  # a digit, but not one of ours
    "/" + DIGEST[1:],
]


@pytest.mark.parametrize("digest", BAD_DIGESTS)
def test_bad_digests_are_refused_everywhere(digest: str) -> None:
    for make in (
        keys.blob,
        lambda bad: keys.action_outcome("cc", bad),
        keys.module_archive,
        lambda bad: keys.module_envelope(bad, DIGEST),
        lambda bad: keys.module_envelope(DIGEST, bad),
        lambda bad: keys.model_summary(bad, "v1"),
    ):
        with pytest.raises(StoreError, match="SHA-256"):
            make(digest)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a b", "A", ".x", "x" * 49, "x\n"])
def test_bad_inspector_names_are_refused(name: str) -> None:
    with pytest.raises(StoreError):
        keys.model_summary(DIGEST, name)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc/passwd",
        "../secret",
        f"actions/cc/{DIGEST}/../../secret",
        f"actions/cc/{DIGEST}/outcome.json\n",
        f"actions/{DIGEST}/outcome.json",
        f"tenants/a/modules/{DIGEST}/../../../jobs/a/1/result.json",
        f"actions//{DIGEST}/outcome.json",
        f"blobs/sha256/02/{DIGEST}",  # in the wrong folder
        ".tmp/1-2.tmp",
        f"modules/{DIGEST}/other.zip",
    ],
)
def test_paths_outside_the_layout_are_no_keys(path: str) -> None:
    with pytest.raises(StoreError, match="layout"):
        Key(path)


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(st.text(max_size=120))
def test_whatever_is_a_key_or_prefix_stays_below_the_root(text: str) -> None:
    for make in (Key, keys.checked_prefix):
        try:
            make(text)
        except StoreError:
            continue
        assert ".." not in text.split("/")
        assert not text.startswith(("/", "."))
        assert "\\" not in text
