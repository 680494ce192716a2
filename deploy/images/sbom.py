"""Print what an image is made of, as CycloneDX 1.6: run at the end of the image's own build.

Python distributions are those that can be imported, Debian packages those that dpkg knows, trees of
sources those named by ``--tree NAME=FOLDER``, with a digest over their files. It has no time and no
serial number: the same image gives the same bill.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any


def main() -> int:
    """Print the bill; return the process's status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", required=True)
    parser.add_argument("--base", required=True, help="the base image, by digest")
    parser.add_argument("--tree", action="append", default=[], metavar="NAME=FOLDER")
    asked = parser.parse_args()
    found = [*distributions(), *packages(), *map(tree, asked.tree), base(asked.base)]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"tinymlaas/{asked.image}"}},
        "components": sorted(found, key=lambda each: (each["type"], each["bom-ref"])),
    }
    json.dump(bill, sys.stdout, indent=1)
    return 0


def distributions() -> Iterator[dict[str, Any]]:
    """Yield the Python distributions."""
    named = {}
    for each in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower()
        named[f"pkg:pypi/{name}@{each.version}"] = (name, each.version)
    for purl, (name, version) in named.items():
        yield _component("library", name, version, purl)


def packages() -> Iterator[dict[str, Any]]:
    """Yield the Debian packages."""
    command = ["dpkg-query", "-W", "-f", "${Package}\t${Version}\t${Architecture}\n"]
    for line in subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.splitlines():
        name, version, architecture = line.split("\t")
        purl = f"pkg:deb/debian/{name}@{version}?arch={architecture}"
        yield _component("library", name, version, purl)


def tree(text: str) -> dict[str, Any]:
    """Return a tree of sources, known by the digest over names and content of its files."""
    name, _, folder = text.partition("=")
    root, total = Path(folder), hashlib.sha256()
    for path in sorted(each for each in root.rglob("*") if each.is_file()):
        content = path.read_bytes()
        total.update(f"{path.relative_to(root)}:{len(content)}:".encode() + content)
    digest = total.hexdigest()
    found = _component("library", name, digest[:16], f"tree:{name}@{digest}")
    del found["purl"]
    return found | {"hashes": [{"alg": "SHA-256", "content": digest}]}


def base(reference: str) -> dict[str, Any]:
    """Return the image that this one is built on."""
    name, _, digest = reference.partition("@")
    repository = name.rpartition("/")[2].partition(":")[0]
    return _component("container", name, digest, f"pkg:oci/{repository}@{digest}")


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": kind, "name": name, "version": version, "bom-ref": purl, "purl": purl}


if __name__ == "__main__":
    sys.exit(main())
