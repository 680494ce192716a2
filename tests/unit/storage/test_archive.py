from __future__ import annotations

import json

import pytest

from storage import stored_zip
from storage.archive import (
    MANIFEST_PATH,
    decode_manifest,
    encode_manifest,
    file_digests,
    read_archive,
    write_archive,
)
from tests.unit.storage import modules
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import Failure, VerificationError
from tinymlaas.contract.manifest import MODULE_FORMAT

DATA = modules.archive()


def test_round_trip() -> None:
    archive = read_archive(DATA)
    assert archive.members == modules.MEMBERS
    assert archive.digest == sha256(DATA)
    assert archive.manifest_digest == sha256(stored_zip.read(DATA)[MANIFEST_PATH])
    assert archive.manifest == modules.manifest(files=file_digests(modules.MEMBERS))
    assert write_archive(archive.manifest, archive.members) == DATA


def test_the_manifest_lists_every_other_file_sorted() -> None:
    files = read_archive(DATA).manifest.files
    assert [file.path for file in files] == sorted(modules.MEMBERS)
    for file in files:
        content = modules.MEMBERS[file.path]
        assert (file.sha256, file.bytes) == (sha256(content), len(content))


def test_the_manifest_does_not_depend_on_the_order_of_options() -> None:
    whole = modules.manifest()
    turned = dict(reversed(whole.compiler.options.items()))
    other = whole.model_copy(
        update={"compiler": whole.compiler.model_copy(update={"options": turned})}
    )
    assert list(turned) != list(whole.compiler.options)
    assert encode_manifest(other) == encode_manifest(whole)


def test_numbers_that_json_has_not_are_refused_when_writing() -> None:
    verification = modules.manifest().verification
    assert verification is not None
    numerics = verification.numerics.model_copy(update={"max_abs_error": float("nan")})
    whole = modules.manifest(verification=verification.model_copy(update={"numerics": numerics}))
    with pytest.raises(Failure, match="manifest"):
        encode_manifest(whole)


def test_nobody_brings_a_manifest_of_his_own() -> None:
    with pytest.raises(Failure, match=MANIFEST_PATH):
        write_archive(modules.manifest(), {MANIFEST_PATH: b"{}"})


def _rebuilt(**changes: bytes | None) -> bytes:
    """The archive with members put in place of others, added, or (None) taken out."""
    members = stored_zip.read(DATA)
    for path, content in changes.items():
        members.pop(path, None)
        if content is not None:
            members[path] = content
    return stored_zip.write(members)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lib/libnet.a": b"evil"}, "member lib/libnet.a differs"),
        ({"src/net.c": None}, "lacks src/net.c"),
        ({"src/more.c": b""}, "src/more.c is not listed"),
        ({MANIFEST_PATH: None}, "has no manifest.json"),
        ({MANIFEST_PATH: b""}, "manifest.json is malformed"),
        ({MANIFEST_PATH: b"\xff"}, "UTF-8"),
        ({MANIFEST_PATH: b"[]"}, "manifest.json is malformed"),
        ({MANIFEST_PATH: b"[" * 100_000}, "manifest.json is malformed"),
        ({MANIFEST_PATH: b'{"format":1,"format":1}'}, "same key twice"),
        ({MANIFEST_PATH: b'{"format":NaN}'}, "NaN"),
        ({MANIFEST_PATH: b'{"format":1e999}'}, "too large"),
        ({MANIFEST_PATH: b"1" * 5000}, "malformed"),
        ({MANIFEST_PATH: b'{"format":2}'}, "format 2"),
        ({MANIFEST_PATH: b" " * (5 << 20)}, "larger"),
    ],
)
def test_archives_that_contradict_themselves_are_refused(
    changes: dict[str, bytes | None], reason: str
) -> None:
    with pytest.raises(VerificationError, match=reason):
        read_archive(_rebuilt(**changes))


def test_many_faults_are_summed_up() -> None:
    members = stored_zip.read(DATA) | {f"src/{i}.c": b"" for i in range(50)}
    with pytest.raises(VerificationError) as caught:
        read_archive(stored_zip.write(members))
    assert len(caught.value.reasons) == 9
    assert caught.value.reasons[-1] == "and 42 more faults"


def test_a_member_listed_twice_is_refused() -> None:
    value = json.loads(stored_zip.read(DATA)[MANIFEST_PATH])
    value["files"].append(value["files"][0])
    with pytest.raises(VerificationError, match="lists a member twice"):
        read_archive(_rebuilt(**{MANIFEST_PATH: json.dumps(value).encode()}))


def test_reasons_are_safe_to_print() -> None:
    value = json.loads(stored_zip.read(DATA)[MANIFEST_PATH])
    value["files"][0]["path"] = "\x1b[2J\u202e" + "x" * 1000
    value["\x1b]0;title\x07"] = 1
    for key in (["files"], ["files", "\x1b]0;title\x07"]):
        text = json.dumps({k: v for k, v in value.items() if k in modules_keys(key)}).encode()
        with pytest.raises(VerificationError) as caught:
            read_archive(_rebuilt(**{MANIFEST_PATH: text}))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000


def modules_keys(more: list[str]) -> set[str]:
    return set(json.loads(encode_manifest(modules.manifest()))) | set(more)


def test_newer_fields_are_not_silently_dropped() -> None:
    value = json.loads(encode_manifest(modules.manifest())) | {"surprise": 1}
    with pytest.raises(VerificationError, match="surprise"):
        decode_manifest(json.dumps(value).encode())
    assert value["format"] == MODULE_FORMAT
