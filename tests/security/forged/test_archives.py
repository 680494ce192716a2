"""Archives that are not what was signed: every one is refused, and what was changed is named."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import pytest

from storage import stored_zip
from storage.archive import MANIFEST_PATH, encode_manifest, read_archive
from storage.sbom import SBOM_PATH
from tests.security.forged.world import (
    ARCHIVE,
    MEMBERS,
    SIGNER,
    all_flips,
    archive_of,
    envelope_by,
    refusal,
    sampled_flips,
    verified,
)
from tests.unit.storage import modules

CONTENTS = {**MEMBERS, MANIFEST_PATH: stored_zip.read(ARCHIVE)[MANIFEST_PATH]}


def test_the_genuine_module_verifies() -> None:
    module = verified()
    assert module.archive.members[SBOM_PATH]
    assert module.remarks == ()


def _check(flips: Iterator[tuple[int, bytes]]) -> int:
    """Refuse each, and name the very file in which the bit lies; return how many there were."""
    places = {path: ARCHIVE.index(data) for path, data in CONTENTS.items() if data}
    count = 0
    for position, data in flips:
        reason = refusal(archive=data)
        count += 1
        for path, start in places.items():
            if start <= position < start + len(CONTENTS[path]):
                wanted = (
                    "the manifest was changed: manifest.json is not the one that was signed"
                    if path == MANIFEST_PATH
                    else f"the archive was changed: member {path} differs"
                )
                assert reason.startswith(wanted), (position, reason)
        assert reason.startswith(("the archive was changed: ", "the manifest was changed: "))
    return count


def test_flipped_bits_all_over_the_archive() -> None:
    assert _check(sampled_flips(ARCHIVE, 11, 1)) > 500


@pytest.mark.parametrize("path", sorted(path for path, data in CONTENTS.items() if data))
def test_flipped_bits_in_each_file_of_the_archive(path: str) -> None:
    start, size = ARCHIVE.index(CONTENTS[path]), len(CONTENTS[path])
    inside = range(start, start + size)
    flips = list(sampled_flips(ARCHIVE, max(1, size // 30), len(path)))
    assert _check(flip for flip in flips if flip[0] in inside) >= min(size, 25)


@pytest.mark.slow
def test_every_bit_of_the_archive() -> None:
    assert _check(all_flips(ARCHIVE)) == 8 * len(ARCHIVE)


@pytest.mark.slow
def test_every_length_of_the_archive() -> None:
    for size in range(len(ARCHIVE)):
        assert "was changed" in refusal(archive=ARCHIVE[:size])


def test_truncated_and_appended_to() -> None:
    for size in range(0, len(ARCHIVE), 101):
        assert "was changed" in refusal(archive=ARCHIVE[:size])
    for more in (b"\0", b"\n", b"PK\x05\x06", b"PK\x05\x06" + bytes(18), ARCHIVE):
        assert "was changed" in refusal(archive=ARCHIVE + more)
        assert "was changed" in refusal(archive=more + ARCHIVE)


def test_a_swapped_manifest() -> None:
    for change in ({"model_digest": "c" * 64}, {"action_digest": "c" * 64}, {"name": "other"}):
        other = encode_manifest(modules.manifest(**change))
        swapped = stored_zip.write({**MEMBERS, MANIFEST_PATH: other})
        assert "the manifest was changed: manifest.json is not" in refusal(archive=swapped)


def test_another_modules_archive_and_envelope() -> None:
    other = archive_of(action_digest="c" * 64)
    assert "the manifest was changed" in refusal(archive=other)
    assert "the manifest was changed" in refusal(envelope=envelope_by(SIGNER, archive=other))
    verified(archive=other, envelope=envelope_by(SIGNER, archive=other))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_same_files_packed_anew(method: int) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for path, content in CONTENTS.items():
            archive.writestr(path, content)
    reason = "the archive was changed: the same files are packed in another way"
    assert refusal(archive=packed.getvalue()) == reason


def test_a_swapped_bill_of_materials() -> None:
    members = {**CONTENTS, SBOM_PATH: MEMBERS[SBOM_PATH].replace(b"0.27.0", b"0.99.0")}
    assert f"member {SBOM_PATH} differs" in refusal(archive=stored_zip.write(members))
    del members[SBOM_PATH]
    assert f"lacks {SBOM_PATH}" in refusal(archive=stored_zip.write(members))


def test_a_file_more_a_file_less_and_two_files_swapped() -> None:
    more = stored_zip.write({**CONTENTS, "src/extra.c": b"int x;"})
    assert "member src/extra.c is not listed" in refusal(archive=more)
    fewer = {path: data for path, data in CONTENTS.items() if path != "src/net.c"}
    assert "lacks src/net.c" in refusal(archive=stored_zip.write(fewer))
    swapped = {**CONTENTS, "src/net.c": MEMBERS["src/empty.c"], "src/empty.c": MEMBERS["src/net.c"]}
    assert "member src/empty.c differs" in refusal(archive=stored_zip.write(swapped))
    assert read_archive(ARCHIVE).members == MEMBERS
