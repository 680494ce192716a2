"""Mutations of ZIP files: of what the members hold, and of how a container describes them."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Sequence

from storage import stored_zip
from tests.fuzz import json_
from tests.fuzz.bytes_ import BYTES, apply

_NAMES = (
    *(
        "../x.npy",
        "/etc/x.npy",
        "x.npy",
        "",
        "a/b/../x.npy",
        "labels.npy",
        "x",
        "x.npy/",
        "C:\\x.npy",
    ),
    *(
        "manifest.json",
        "lib",
        "lib/libnet.a/x",
        "\x1b[31m.npy",
        "é.npy",
        "con",
        "." * 300,
        "src//a",
    ),
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_DIMS = (b"999999999999", b"-1", b"0", b"1", b"2147483648", b"1, 1, 1", b"0x10", b"1e3", b"None")
_TYPES = (
    b"<f4",
    b">i2",
    b"|O",
    b"|u1",
    b"<c8",
    b"<U9",
    b"|V8",
    b"<f3",
    b"|b1",
    b"<m8",
    b"O",
    b"()",
)


# What a changed archive makes `zipfile` raise: damaged, encrypted, cut off, nothing left of it.
_UNFIT = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    IndexError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    ZeroDivisionError,
)


def _members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def _mutated(content: bytes, a: int, b: int, c: int) -> bytes:
    """Change a member: a NumPy header's words, JSON as a tree, all else as bytes."""
    if content[:6] == b"\x93NUMPY" and c % 3:
        old = content[content.find(b"(") + 1 : content.find(b")")]
        new = _DIMS[a % len(_DIMS)]
        if c % 2:
            old, new = content[content.find(b": '") + 3 : content.find(b"', ")], _TYPES[a % 12]
        return content.replace(old or b"(", new, 1)
    if content[:1] == b"{" and c % 4:
        return json_.tree(content, a, b, c, ())
    return apply(content or b"?", BYTES[c % len(BYTES)], (a, b, c >> 3), [b"\x93NUMPY", b"PK\1\2"])


def _changed(members: list[tuple[str, bytes]], a: int, b: int, c: int) -> None:
    index = a % len(members)
    name, content = members[index]
    match c % 6:
        case 0:
            members[index] = (_NAMES[b % len(_NAMES)], content)
        case 1:
            del members[index]
        case 2:
            members.insert(b % len(members), (name if b & 1 else f"{name}{b % 9}", content))
        case _:
            members[index] = (name, _mutated(content, a >> 8, b, c >> 3))


def repacked(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Change a member and pack all anew, by an ordinary tool."""
    try:
        members = _members(data)
        _changed(members, a, b, c)
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with zipfile.ZipFile(file, "w", _METHODS[b % 4]) as archive:
                for name, content in members:
                    archive.writestr(name, content)
        return file.getvalue()
    except _UNFIT:
        return data


def ours(data: bytes, a: int, b: int, c: int, others: Sequence[bytes]) -> bytes:
    """Change a member and pack all anew as our writer would if it took any name."""
    try:
        members = _members(data)
        _changed(members, a, b, c)
        named = {
            name.encode("ascii", "replace").decode()[:200]: content for name, content in members
        }
        parts = stored_zip._locals(named)
        return b"".join([*parts, stored_zip._directory(named)])
    except _UNFIT:
        return data
