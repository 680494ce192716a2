"""A ZIP with exactly one encoding: every member stored, sorted by path, no time, no owner.

Any unzip reads it (PKWARE APPNOTE 6.3.9, sections 4.3 and 4.4). Our own reader accepts nothing but
the bytes `write` would give for the same members, so that there is no room for a second file
behind the first, for other names in the directory than in the headers, or for bytes nobody reads.
Nothing is compressed: what is read is never larger than what was received.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from tinymlaas.contract.compiler import RelativePath
from tinymlaas.contract.errors import Failure, VerificationError

MAX_ARCHIVE_BYTES = 256 << 20
MAX_MEMBERS = 4096

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION = 20  # 2.0: files in folders
_MADE_BY = (3 << 8) | _VERSION  # 3: Unix, whatever machine writes it
_MODE = 0o100644 << 16  # a regular file, rw-r--r--
_DATE = (1 << 5) | 1  # 1980-01-01, the first a ZIP can name; the time is 0
_METHOD_STORED = 0
_FLAG_ENCRYPTED = 1

_PATH = TypeAdapter(RelativePath)


def write(members: Mapping[str, bytes]) -> bytes:
    """Return the archive of `members` (path → content), the same bytes for the same members.

    Raises:
        Failure: a path or size that the format does not allow.
    """
    fault = _names_fault(list(members)) or _size_fault(members)
    if fault:
        raise Failure(f"cannot pack the archive: {fault}")
    return b"".join([*_locals(members), _directory(members)])


def read(data: bytes) -> dict[str, bytes]:
    """Return the members of an archive made by `write`, in their order.

    Raises:
        VerificationError: `data` is anything else; the reason says what.
    """
    if len(data) > MAX_ARCHIVE_BYTES:
        raise VerificationError(f"the archive is larger than {MAX_ARCHIVE_BYTES} bytes")
    if data[:4] not in (_LOCAL_MAGIC, _END_MAGIC):
        raise VerificationError("the archive is damaged: it does not begin as a ZIP file")
    members: dict[str, bytes] = {}
    offset = 0
    while data[offset : offset + 4] == _LOCAL_MAGIC:
        path, content, offset = _member(data, offset)
        if len(members) == MAX_MEMBERS:
            raise VerificationError(f"the archive has more than {MAX_MEMBERS} members")
        if path in members:
            raise VerificationError(f"the archive has {path} twice")
        members[path] = content
    if fault := _names_fault(list(members)):
        raise VerificationError(f"the archive is damaged: {fault}")
    if data[offset:] != _directory(members):
        raise VerificationError("the archive is damaged: its directory does not match its members")
    return members


def _member(data: bytes, offset: int) -> tuple[str, bytes, int]:
    """Read the local header at `offset`; return path, content and the offset behind it."""
    if len(data) - offset < _LOCAL.size:
        raise VerificationError("the archive is truncated")
    _, version, flags, method, time, date, crc, packed, size, name_size, extra = _LOCAL.unpack_from(
        data, offset
    )
    start = offset + _LOCAL.size
    path = data[start : start + name_size].decode("ascii", "replace")
    fault = _header_fault(flags, method, extra)
    if fault is None and (version, time, date, packed) != (_VERSION, 0, _DATE, size):
        fault = "has a header that we do not write"
    if fault:
        raise VerificationError(f"the archive is damaged: member {path[:100]!a} {fault}")
    end = start + name_size + size
    if end > len(data):
        raise VerificationError("the archive is truncated")
    content = data[start + name_size : end]
    if zlib.crc32(content) != crc:
        raise VerificationError(f"the archive is damaged: member {path[:100]!a} has a wrong CRC-32")
    return path, content, end


def _header_fault(flags: int, method: int, extra: int) -> str | None:
    if flags & _FLAG_ENCRYPTED:
        return "is encrypted"
    if method != _METHOD_STORED:
        return "is compressed"
    if flags or extra:
        return "has flags or extra fields"
    return None


def _names_fault(paths: list[str]) -> str | None:
    """Say what is wrong with the member names, if anything: form, order, a file as a folder."""
    if len(paths) > MAX_MEMBERS:
        return f"more than {MAX_MEMBERS} members"
    known = set(paths)
    for path in paths:
        try:
            _PATH.validate_python(path, strict=True)
        except ValidationError:
            return f"{path[:100]!a} is no plain relative path"
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in known:
                return f"{'/'.join(parts[:depth])} is both a file and a folder"
    return None


def _size_fault(members: Mapping[str, bytes]) -> str | None:
    total = sum(
        len(content) + 2 * len(path) + _LOCAL.size + _CENTRAL.size
        for path, content in members.items()
    )
    if total + _END.size > MAX_ARCHIVE_BYTES:
        return f"it would be larger than {MAX_ARCHIVE_BYTES} bytes"
    return None


def _locals(members: Mapping[str, bytes]) -> list[bytes]:
    """Return headers and contents, in the one order there is."""
    parts = []
    for path in sorted(members):
        parts += [_LOCAL.pack(_LOCAL_MAGIC, *_common(path, members[path]), 0), path.encode()]
        parts.append(members[path])
    return parts


def _common(path: str, content: bytes) -> tuple[int, ...]:
    """Return the fields that local and central headers share, from the version to the name size."""
    size = len(content)
    crc = zlib.crc32(content)
    return (_VERSION, 0, _METHOD_STORED, 0, _DATE, crc, size, size, len(path))


def _directory(members: Mapping[str, bytes]) -> bytes:
    """Return the central directory and the end record."""
    parts = []
    offset = 0
    for path in sorted(members):
        common = _common(path, members[path])
        parts.append(_CENTRAL.pack(_CENTRAL_MAGIC, _MADE_BY, *common, 0, 0, 0, 0, _MODE, offset))
        parts.append(path.encode())
        offset += _LOCAL.size + len(path) + len(members[path])
    directory = b"".join(parts)
    count = len(members)
    end = _END.pack(_END_MAGIC, 0, 0, count, count, len(directory), offset, 0)
    return directory + end
