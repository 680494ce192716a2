from __future__ import annotations

import io
import struct
import zipfile

import pytest

from storage import stored_zip
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import Failure, VerificationError

MEMBERS = {"b/two.txt": b"second", "a.txt": b"", "b/one.bin": bytes(range(256))}
DATA = stored_zip.write(MEMBERS)


def test_python_reads_what_we_write() -> None:
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.txt", "b/one.bin", "b/two.txt"]
        assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert (info.compress_type, info.flag_bits, info.extra) == (0, 0, b"")
            assert (info.create_system, info.external_attr >> 16) == (3, 0o100644)


def test_we_read_what_we_write() -> None:
    assert stored_zip.read(DATA) == MEMBERS
    assert stored_zip.read(stored_zip.write({})) == {}


def test_the_order_of_the_members_given_does_not_matter() -> None:
    assert stored_zip.write(dict(reversed(MEMBERS.items()))) == DATA


BAD_PATHS = [
    "",
    "/etc/passwd",
    "../up",
    "a/../b",
    "a//b",
    "./a",
    "a/",
    "a\\b",
    "C:x",
    "a\n",
    "a\0b",
    "ü",
    ".hidden",
    "x" * 201,
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_bad_paths_are_neither_written_nor_read(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failure, match="plain relative path"):
        stored_zip.write({path: b""})
    with monkeypatch.context() as unchecked:
        unchecked.setattr(stored_zip, "_names_fault", lambda paths: None)
        forged = stored_zip.write({path: b"x"})
    with pytest.raises(VerificationError, match=r"plain relative path|damaged"):
        stored_zip.read(forged)


def _packed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Pack as an ordinary tool does, but with our own fixed header fields where they are free."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for path, content in members.items():
            info = zipfile.ZipInfo(path)
            info.compress_type = method
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def test_an_ordinary_tool_could_write_ours_byte_for_byte() -> None:
    """Shows that the tests above and below fail for the reason they say, and not for another."""
    assert _packed({path: MEMBERS[path] for path in sorted(MEMBERS)}) == DATA


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "begin"),
        (b"\x89PNG\r\n\x1a\n", "begin"),
        (b"junk" + DATA, "begin"),
        (DATA + b"junk", "directory"),
        (DATA[:20], "truncated"),
        (DATA[:100], "truncated"),
        (DATA[:-1], "directory"),
        (DATA[:-2] + b"\x01\0" + b"c", "directory"),  # an archive comment
        (_packed({"b": b"", "a": b""}), "directory"),  # not sorted
        (_packed({"a": b"x" * 100}, zipfile.ZIP_DEFLATED), "compressed"),
        (_packed({"a": b"", "a/b": b""}), "both a file and a folder"),
        (DATA.replace(b"second", b"s3cond"), "CRC-32"),
        (DATA[: DATA.index(b"PK\x01\x02")] + DATA, "twice"),
        (stored_zip.write({"a": b""}) + DATA, "directory"),  # two archives
    ],
)
def test_anything_else_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        stored_zip.read(data)


def _patched(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + struct.pack("<H", value) + data[offset + 2 :]


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (6, 1, "encrypted"),
        (6, 8, "flags"),  # sizes follow the data
        (8, 8, "compressed"),
        (10, 1, "header"),  # a time
        (28, 4, "extra"),
        (4, 45, "header"),  # ZIP64
    ],
)
def test_header_fields_we_do_not_write_are_refused(offset: int, value: int, reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        stored_zip.read(_patched(DATA, offset, value))


def test_a_link_is_refused() -> None:
    """Its mode stands in the directory alone."""
    link = DATA.replace(struct.pack("<L", 0o100644 << 16), struct.pack("<L", 0o120777 << 16), 1)
    assert link != DATA
    with pytest.raises(VerificationError, match="directory"):
        stored_zip.read(link)


def test_a_name_that_differs_in_the_directory_is_refused() -> None:
    before, name, after = DATA.rpartition(b"b/two.txt")
    assert name
    with pytest.raises(VerificationError, match="directory"):
        stored_zip.read(before + b"b/tow.txt" + after)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_zip, "MAX_MEMBERS", 2)
    with pytest.raises(VerificationError, match="more than 2 members"):
        stored_zip.read(DATA)
    with pytest.raises(Failure, match="more than 2 members"):
        stored_zip.write(MEMBERS)
    monkeypatch.setattr(stored_zip, "MAX_MEMBERS", 3)
    monkeypatch.setattr(stored_zip, "MAX_ARCHIVE_BYTES", len(DATA))
    assert stored_zip.read(stored_zip.write(MEMBERS)) == MEMBERS
    monkeypatch.setattr(stored_zip, "MAX_ARCHIVE_BYTES", len(DATA) - 1)
    with pytest.raises(VerificationError, match="larger"):
        stored_zip.read(DATA)
    with pytest.raises(Failure, match="larger"):
        stored_zip.write(MEMBERS)


def test_known_answer() -> None:
    """These bytes are in the stores and digests of every user: they must never change."""
    data = stored_zip.write({"a/b.txt": b"hello", "a/c.bin": b""})
    assert sha256(data) == "d97089e5a6a3616e34bd6fc6871244f382e2d5c3a6502528ac9138051e8802bc"
