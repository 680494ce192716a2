"""Pack a verified module into its archive, and lay members out as files.

The archive's layout is fixed, whatever compiled the module:

    manifest.json         what it is, with the digest of every other file
    include/<name>.h      the C interface
    src/...               sources, as far as the compiler gives any
    lib/lib<name>.a       objects for the target
    verify/...            golden inputs and outputs (`workers.golden`)
    sbom.cdx.json         what it was built from and with (`storage.sbom`)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from storage.archive import write_archive
from storage.sbom import SBOM_PATH
from tinymlaas.contract.errors import Failure
from tinymlaas.contract.manifest import ModuleManifest

FOLDERS = ("include", "lib", "src", "verify")


def header_path(name: str) -> str:
    """Return the path of the C header in the archive of module `name`."""
    return f"include/{name}.h"


def library_path(name: str) -> str:
    """Return the path of the static library in the archive of module `name`."""
    return f"lib/lib{name}.a"


def pack(manifest: ModuleManifest, members: Mapping[str, bytes]) -> bytes:
    """Return the module archive; the same arguments give the same bytes.

    `members` are all files but the manifest, by path; `manifest.files` is computed from them,
    whatever it was.

    Raises:
        Failure: a member lies outside the layout, the header or the library is missing, or the
            archive cannot be written (see `storage.archive.write_archive`).
    """
    for path in sorted(members):
        if path != SBOM_PATH and (path.partition("/")[0] not in FOLDERS or "/" not in path):
            raise Failure(f"cannot pack {path!a}: it lies in none of {', '.join(FOLDERS)}")
    for path in (header_path(manifest.name), library_path(manifest.name)):
        if path not in members:
            raise Failure(f"cannot pack module {manifest.name}: {path} is missing")
    return write_archive(manifest, members)


def write_new(files: Mapping[str, bytes], folder: Path) -> None:
    """Write `files`, by paths that are plain and relative, below a new or empty `folder`.

    Raises:
        Failure: the folder holds something, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise Failure(f"cannot write into {folder}: it is not empty")
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except OSError as error:
        raise Failure(f"cannot write into {folder}: {error.strerror or error}") from error
