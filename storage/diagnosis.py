"""What was changed in an archive whose digest is not the signed one.

Only for the words of a refusal that is already decided. The archive may be anything here, also one
repacked by an ordinary tool, so it is read by Python's lenient reader within limits, and whatever
that raises means "cannot be read".
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter

from storage.archive import MANIFEST_PATH, decode_manifest, member_faults, shown
from storage.stored_zip import MAX_ARCHIVE_BYTES, MAX_MEMBERS
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import VerificationError

_ENTRY = b"PK\x01\x02"  # a central directory entry
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def changes(data: bytes, manifest_digest: str) -> tuple[str, ...]:
    """Say how `data` differs from the archive whose manifest.json has this (signed) digest.

    Never raises; at least one reason.
    """
    try:
        names, members = _members(data)
    except VerificationError as error:
        return (f"the archive was changed: {error}",)
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        return (f"the archive was changed: it has {shown(twice[0])} twice",)
    manifest = members.pop(MANIFEST_PATH, None)
    if MANIFEST_PATH not in names:
        return (f"the manifest was changed: {MANIFEST_PATH} was taken out of the archive",)
    if manifest is None or sha256(manifest) != manifest_digest:
        return (f"the manifest was changed: {MANIFEST_PATH} is not the one that was signed",)
    return _member_changes(manifest, members)


def _member_changes(manifest: bytes, members: dict[str, bytes | None]) -> tuple[str, ...]:
    """Compare with the list in the manifest, which is the signed one."""
    try:
        readable = {path: content or b"" for path, content in members.items()}
        faults = member_faults(decode_manifest(manifest), readable)
    except VerificationError as error:
        faults = error.reasons
    if not faults:
        return ("the archive was changed: the same files are packed in another way",)
    return tuple(f"the archive was changed: {fault}" for fault in faults)


def _members(data: bytes) -> tuple[list[str], dict[str, bytes | None]]:
    """Return all names, and the content of each member or None where it cannot be read."""
    if len(data) > MAX_ARCHIVE_BYTES or data.count(_ENTRY) > MAX_MEMBERS:
        raise VerificationError("it is larger than any archive of ours")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        infos = archive.infolist()
    except Exception:  # forged bytes make zipfile raise almost anything; all of it means this
        raise VerificationError("it is no readable ZIP file any more") from None
    budget = MAX_ARCHIVE_BYTES
    members: dict[str, bytes | None] = {}
    for info in infos:
        content = _content(archive, info, budget)
        budget -= len(content or b"")
        members[info.filename] = content
    return [info.filename for info in infos], members


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: int) -> bytes | None:
    if info.compress_type not in _METHODS:
        return None
    try:
        with archive.open(info) as file:
            content = file.read(budget + 1)
    except Exception:  # as above, and from zlib
        return None
    return content if len(content) <= budget else None
