"""A digest over our own source files: a changed compiler never answers from a stale cache."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

# The sources of all that may change a module's bytes or numbers; see `action digest`.
_SERVICE = ("workers", "storage", "tinymlaas.contract")
_SUFFIXES = {".py", ".c", ".h", ".S", ".ld", ".j2", ".json"}


@cache
def source_digest(*names: str) -> str:
    """Return the SHA-256 over the source files of the packages or modules `names`.

    Any change of a file or a file name changes it; where the packages are installed does not.
    """
    digest = hashlib.sha256()
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no module named {name}")
        origin = Path(spec.origin)
        root = origin.parent
        files = root.rglob("*") if origin.name == "__init__.py" else [origin]
        for path in sorted(p for p in files if p.suffix in _SUFFIXES and p.is_file()):
            content = path.read_bytes()
            digest.update(f"{name}/{path.relative_to(root)}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def service_digest() -> str:
    """Return the version of our own part of the work: the digest of its sources."""
    return source_digest(*_SERVICE)
