"""The inference module archive: a manifest and the members it lists, as one deterministic ZIP.

The format stands here, and not with the workers that fill it, because verifying a signed archive
(`storage.verify`) must read it too, and adapters do not import services.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from storage import stored_zip, strict_json
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import Failure, VerificationError
from tinymlaas.contract.manifest import MODULE_FORMAT, FileDigest, ModuleManifest

MANIFEST_PATH = "manifest.json"
MAX_MANIFEST_BYTES = 4 << 20
_MAX_REASONS = 8


@dataclass(frozen=True)
class Archive:
    """A module archive as read: `members` are all files but the manifest, by path.

    `digest` is the SHA-256 of the whole archive, `manifest_digest` that of manifest.json's bytes.
    """

    manifest: ModuleManifest
    members: Mapping[str, bytes]
    digest: str
    manifest_digest: str


def write_archive(manifest: ModuleManifest, members: Mapping[str, bytes]) -> bytes:
    """Return the archive of `members` under `manifest`, whose `files` are filled in here.

    The same arguments give the same bytes, on any machine.

    Raises:
        Failure: a member path that is not plain and relative, or is the manifest's own; an
            archive too large; a number in the manifest that JSON cannot hold.
    """
    if MANIFEST_PATH in members:
        raise Failure(f"cannot pack the archive: {MANIFEST_PATH} is not a member to be given")
    listed = manifest.model_copy(update={"files": file_digests(members)})
    return stored_zip.write({**members, MANIFEST_PATH: encode_manifest(listed)})


def read_archive(data: bytes) -> Archive:
    """Return what `write_archive` packed, every member checked against the manifest.

    Raises:
        VerificationError: `data` is anything else; the reason names the member at fault.
    """
    members = stored_zip.read(data)
    manifest_bytes = members.pop(MANIFEST_PATH, None)
    if manifest_bytes is None:
        raise VerificationError(f"the archive has no {MANIFEST_PATH}")
    manifest = decode_manifest(manifest_bytes)
    if reasons := member_faults(manifest, members):
        raise VerificationError(*reasons)
    return Archive(manifest, members, sha256(data), sha256(manifest_bytes))


def file_digests(members: Mapping[str, bytes]) -> tuple[FileDigest, ...]:
    """Return digest and size of every member, sorted by path."""
    return tuple(
        FileDigest(path=path, sha256=sha256(members[path]), bytes=len(members[path]))
        for path in sorted(members)
    )


def member_faults(manifest: ModuleManifest, members: Mapping[str, bytes]) -> tuple[str, ...]:
    """Say how `members` differ from the manifest's list; empty if they do not."""
    listed = {file.path: file for file in manifest.files}
    missing = sorted(listed.keys() - members.keys())
    surplus = sorted(members.keys() - listed.keys())
    changed = [
        path
        for path in sorted(listed.keys() & members.keys())
        if (listed[path].bytes, listed[path].sha256) != (len(members[path]), sha256(members[path]))
    ]
    reasons = [f"the archive lacks {shown(path)}, which its manifest lists" for path in missing]
    reasons += [f"member {shown(path)} is not listed in the manifest" for path in surplus]
    reasons += [f"member {shown(path)} differs from the manifest's digest" for path in changed]
    if len(listed) != len(manifest.files):
        reasons.append("the manifest lists a member twice")
    if len(reasons) > _MAX_REASONS:
        reasons[_MAX_REASONS:] = [f"and {len(reasons) - _MAX_REASONS} more faults"]
    return tuple(reasons)


def shown(text: str) -> str:
    """Return text from outside as it may be printed: no control characters, not long."""
    return ascii(text[:100])[1:-1]


def encode_manifest(manifest: ModuleManifest) -> bytes:
    """Return manifest.json: UTF-8, sorted keys, indented for people, one newline at the end.

    Raises:
        Failure: it holds a NaN or an infinity.
    """
    value = manifest.model_dump()  # not mode="json": that would turn a NaN into null
    try:
        text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"
    except ValueError as error:
        raise Failure(f"cannot write the manifest: {error}") from error


def decode_manifest(data: bytes) -> ModuleManifest:
    """Return the manifest in manifest.json's bytes.

    Raises:
        VerificationError: it is malformed, too large, or of a newer format.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise VerificationError(f"{MANIFEST_PATH} is larger than {MAX_MANIFEST_BYTES} bytes")
    value = strict_json.loads(data, MANIFEST_PATH)
    version = value.get("format") if isinstance(value, dict) else None
    if isinstance(version, int) and version > MODULE_FORMAT:
        raise VerificationError(
            f"the module has format {version}, this tinymlaas reads up to {MODULE_FORMAT}: update"
        )
    try:
        return ModuleManifest.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = shown(".".join(str(part) for part in first["loc"])) or "the whole"
        raise VerificationError(f"{MANIFEST_PATH} is malformed: {where}: {first['msg']}") from None
