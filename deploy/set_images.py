"""Write an overlay's image digests: ``python -m deploy.set_images --overlay production …``.

What is in this repository has no images yet: nobody has built and pushed them, so the overlays name
a digest of zeros, which no registry has. ``--metadata`` is what ``docker buildx bake --push
--metadata-file`` writes; ``--image NAME=REF@sha256:…`` names one that comes from elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tinymlaas.contract.errors import TinymlaasError, UsageError

UNSET = "sha256:" + 64 * "0"
OVERLAYS = Path(__file__).parent / "k8s" / "overlays"
_OURS = "tinymlaas/"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEAD = """\
# Written by `python -m deploy.set_images`; a digest of zeros is one that is not known yet.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file; return the process's status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.set_images", description=__doc__)
    parser.add_argument("--overlay", required=True, metavar="NAME", help="production, air-gapped")
    parser.add_argument("--metadata", type=Path, metavar="FILE", help="of docker buildx bake")
    parser.add_argument("--image", action="append", default=[], metavar="NAME=REF@DIGEST")
    asked = parser.parse_args(arguments)
    try:
        path = OVERLAYS / asked.overlay / "images" / "kustomization.yaml"
        found = {**(_built(asked.metadata) if asked.metadata else {}), **_named(asked.image)}
        if not found:
            raise UsageError("say which: --metadata FILE, --image NAME=REPOSITORY@sha256:…")
        write(path, found)
    except TinymlaasError as error:
        for reason in error.reasons:
            print(f"error: {reason}", file=sys.stderr)
        return 2
    return 0


def write(path: Path, found: Mapping[str, tuple[str, str]]) -> None:
    """Give the images in `path` the repositories and digests of `found`, by name; keep others.

    Raises:
        UsageError: the overlay has no such file, or no image of that name.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        images: list[dict[str, Any]] = content["images"]
        known = {image["name"] for image in images}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise UsageError(f"{path} has no list `images` of names; see that of production") from error
    unknown = sorted(set(found) - known)
    if unknown:
        raise UsageError(f"no image is called {unknown[0]}; there are: {', '.join(sorted(known))}")
    for image in images:
        if image["name"] in found:
            image["newName"], image["digest"] = found[image["name"]]
    made = path.with_suffix(".tmp")
    try:
        made.write_text(_HEAD + yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        os.replace(made, path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _built(path: Path) -> dict[str, tuple[str, str]]:
    """Return repository and digest of each target that was built and pushed."""
    try:
        targets = json.loads(path.read_text(encoding="utf-8"))
        found = {
            f"{_OURS}{target}": (_repository(said["image.name"]), said["containerimage.digest"])
            for target, said in targets.items()
            if isinstance(said, dict) and "containerimage.digest" in said
        }
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise UsageError(f"{path} is no metadata of docker buildx bake --push: {error}") from error
    for name, (_, digest) in found.items():
        if not _DIGEST.fullmatch(digest):
            raise UsageError(f"{path}: {name} has no digest but {digest[:80]!a}")
    return found


def _repository(name: str) -> str:
    """Return an image's name without its tag; of several names the first."""
    first = name.partition(",")[0].partition("@")[0]
    head, colon, tag = first.rpartition(":")
    return head if colon and "/" not in tag else first


def _named(texts: Sequence[str]) -> dict[str, tuple[str, str]]:
    found = {}
    for text in texts:
        name, _, reference = text.partition("=")
        repository, _, digest = reference.partition("@")
        if not (name and repository and _DIGEST.fullmatch(digest)):
            raise UsageError(f"--image {text}: write NAME=REPOSITORY@sha256:…")
        found[name] = (repository, digest)
    return found


if __name__ == "__main__":
    sys.exit(main())
