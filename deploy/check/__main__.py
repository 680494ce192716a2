"""``python -m deploy.check``: all of it, as a table and a line for each finding."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from deploy import generate
from deploy.check import (
    components,
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
from tinymlaas.contract.errors import TinymlaasError

RULES = {
    "schema": schemas.check,
    "restricted": restricted.check,
    "sizes": sizes.check,
    "times": times.check,
    "settings": settings.check,
    "names": names.check,
    "network": network.check,
    "images": images.check,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the repository's manifests; return the process's status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.check", description=__doc__)
    parser.add_argument(
        "--release", action="store_true", help="digests that are not known yet are findings"
    )
    release = parser.parse_args(arguments).release
    began = time.monotonic()
    try:
        folders = render.overlays()
        overlays = render.render_all(folders)
    except TinymlaasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = sorted({*_all(overlays), *components.check(folders), *_generated()})
    unset = {each.name: images.unset(each) for each in overlays if images.unset(each)}
    if release:
        found += [Finding(name, "images", "image", _unset(n, name)) for name, n in unset.items()]
    print(_table(overlays, found))
    for name, number in unset.items():
        print(f"note: {_unset(number, name)}")
    for each in found:
        print(each.line())
    done = f"{len(found)} findings" if found else "all is well"
    print(f"Kubernetes {', '.join(schemas.versions())}: {done}, {time.monotonic() - began:.1f} s")
    return 1 if found else 0


def check(overlay: Overlay) -> list[Finding]:
    """Return all findings of one overlay."""
    return sorted({each for rule in RULES.values() for each in rule(overlay)})


def _all(overlays: Iterable[Overlay]) -> Iterator[Finding]:
    for overlay in overlays:
        yield from check(overlay)


def _generated() -> Iterator[Finding]:
    for path, made in generate.files().items():
        if not path.exists() or path.read_text(encoding="utf-8") != made():
            said = "is not what it is made of; run python -m deploy.generate"
            yield Finding("components", path.parent.name, path.name, said)


def _unset(number: int, overlay: str) -> str:
    return (
        f"{overlay}: {number} images have no digest yet; after a build: "
        f"python -m deploy.set_images --overlay {overlay}"
    )


def _table(overlays: Sequence[Overlay], found: Sequence[Finding]) -> str:
    lines = [f"{'overlay':<14}{'objects':>8}{'pods':>6}{'findings':>10}"]
    for each in overlays:
        mine = sum(finding.overlay == each.name for finding in found)
        lines.append(f"{each.name:<14}{len(each.objects):>8}{len(each.pods):>6}{mine:>10}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
