"""Whether every component is part of something that is checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from deploy.check.model import Finding
from deploy.check.render import K8S


def check(folders: Iterable[Path], k8s: Path = K8S) -> Iterator[Finding]:
    """Yield components that nothing among `folders` uses, so that nothing is known of them."""
    used = set()
    for folder in folders:
        path = folder / "kustomization.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        used |= {(folder / each).resolve() for each in content.get("components") or ()}
    for path in sorted((k8s / "components").glob("*/kustomization.yaml")):
        if path.parent.resolve() not in used:
            said = "no overlay uses it: add it to one of deploy/check/variants/"
            yield Finding("components", path.parent.name, "(whole)", said)
