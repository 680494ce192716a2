"""ZIP files of users, opened within limits: what the directory declares is checked, then believed.

Python's zipfile takes them apart (PKWARE APPNOTE 6.3.9). Nothing is ever unpacked to a folder by
us; a library may, so that paths that lead out, and links, are refused whoever reads on.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
from collections import Counter
from dataclasses import dataclass

_DIRECTORY_ENTRY = b"PK\x01\x02"
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class BadZip(Exception):
    """It is no such file; the text says why, on one line but for names in it."""


@dataclass(frozen=True)
class ZipLimits:
    """`members` of an archive, `unpacked_bytes` of all of them as declared, `ratio` of that to the
    bytes a member is packed in (deflate reaches 1032 on zeros).
    """

    members: int = 256
    unpacked_bytes: int = 1 << 30
    ratio: int = 1040


def open_zip(data: bytes, limits: ZipLimits) -> zipfile.ZipFile:
    """Return the archive in `data`.

    A member that is read may still turn out damaged, with any exception of zipfile or zlib; it is
    never longer than it declares.

    Raises:
        BadZip: it is none, is beyond `limits`, or has a member twice, encrypted, packed otherwise
            than stored or deflated, no plain file or folder, or with a path that leads out.
    """
    # Before zipfile makes an object for each: a directory of millions fits into any file.
    if data.count(_DIRECTORY_ENTRY) > limits.members:
        raise BadZip(f"it has more than {limits.members} members")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:  # forged bytes make zipfile raise almost anything
        raise BadZip(str(error) or type(error).__name__) from None
    members = archive.infolist()
    for info in members:
        if fault := _fault(info, limits):
            raise BadZip(f"its member {shown(info.filename)} {fault}")
    for name, count in Counter(info.filename for info in members).items():
        if count > 1:
            raise BadZip(f"it has member {shown(name)} twice")
    if sum(info.file_size for info in members) > limits.unpacked_bytes:
        raise BadZip(f"it unpacks to more than {limits.unpacked_bytes >> 20:,} MiB")
    return archive


def shown(name: str) -> str:
    """Return a member's name as it may be printed."""
    return ascii(name[:80])


def _fault(info: zipfile.ZipInfo, limits: ZipLimits) -> str | None:
    """Say what is wrong with a member as its directory entry describes it, if anything."""
    path = info.orig_filename
    if path.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", path):
        return "has a path that leads out of the archive"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if "\0" in path or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is no plain file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is packed in a way that is not read"
    if info.file_size > limits.ratio * max(info.compress_size, 1):
        return f"declares {info.file_size} bytes in {info.compress_size}"
    return None
