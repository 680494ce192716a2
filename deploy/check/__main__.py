"""``python -m deploy.check``: all of it, as a table and a line for each finding."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from deploy import generate
from deploy.check import (
    components,
    files,
    images,
    names,
    network,
    render,
    restricted,
    schemas,
    settings,
    sizes,
    times,
)
from deploy.check.model import Finding, Overlay
from tinymlaas.contract.errors import TinymlaasError, UsageError

_RULES = (
    restricted.check,
    sizes.check,
    times.check,
    settings.check,
    names.check,
    files.check,
    network.check,
    images.check,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the repository's manifests; return the process's status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.check", description=__doc__)
    parser.add_argument(
        "--release", action="store_true", help="digests that are not known yet are findings"
    )
    parser.add_argument(
        "--overlay", action="append", default=[], metavar="NAME", help="this one only; repeatable"
    )
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        folders = _chosen(asked.overlay)
        overlays = render.render_all(folders)
    except TinymlaasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found, lines = report(overlays, release=asked.release)
    found += [*_generated(), *(() if asked.overlay else components.check(folders))]
    print(_table(overlays, found))
    for line in (*lines, *(each.line() for each in found)):
        print(line)
    done = f"{len(found)} findings" if found else "all is well"
    print(f"Kubernetes {', '.join(schemas.versions())}: {done}, {time.monotonic() - began:.1f} s")
    return 1 if found else 0


def _chosen(names: Sequence[str]) -> list[Path]:
    """Return the folders of the overlays called so, of all without a name.

    Raises:
        UsageError: none is called so.
    """
    folders = {each.name: each for each in render.overlays()}
    for name in names:
        if name not in folders:
            raise UsageError(f"no overlay is called {name}; there are: {', '.join(folders)}")
    return [folders[name] for name in names or folders]


def report(overlays: Iterable[Overlay], *, release: bool) -> tuple[list[Finding], list[str]]:
    """Return all findings of `overlays`, and notes of what is merely not known yet."""
    found, notes = [], []
    for overlay in overlays:
        found += check(overlay)
        if number := images.unset(overlay):
            said = f"{number} images have no digest yet; after a build: {images.HOW}{overlay.name}"
            if release:
                found.append(overlay.finding("images", "image", said))
            else:
                notes.append(f"note: {overlay.name}: {said}")
    return found, notes


def check(overlay: Overlay) -> list[Finding]:
    """Return all findings of one overlay; where objects are malformed, these findings alone."""
    malformed = sorted(set(schemas.check(overlay)))
    return malformed or sorted({each for rule in _RULES for each in rule(overlay)})


def _generated() -> Iterator[Finding]:
    for path, made in generate.files().items():
        if not path.exists() or path.read_text(encoding="utf-8") != made():
            said = "is not what it is made of; run python -m deploy.generate"
            yield Finding("components", path.parent.name, path.name, said)


def _table(overlays: Sequence[Overlay], found: Sequence[Finding]) -> str:
    lines = [f"{'overlay':<14}{'objects':>8}{'pods':>6}{'findings':>10}"]
    for each in overlays:
        mine = sum(finding.overlay == each.name for finding in found)
        lines.append(f"{each.name:<14}{len(each.objects):>8}{len(each.pods):>6}{mine:>10}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
