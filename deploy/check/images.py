"""By what name a pod takes its images."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.check.model import Finding, Object, Overlay, Pod
from deploy.set_images import UNSET

HOW = "python -m deploy.set_images --overlay "
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def check(overlay: Overlay) -> Iterator[Finding]:
    """Yield images that may be another tomorrow, and, where nothing comes from outside, foreign
    ones. A digest of zeros passes: it says itself that it is not known (`unset`).
    """
    registries = set()
    for what, field, image in named(overlay):
        registries.add(image.partition("/")[0] if "/" in image else "docker.io")
        if overlay.pinned and not _DIGEST.search(image):
            said = f"{image} is no digest: {HOW}{overlay.name}"
            yield overlay.finding(what, field, said)
        elif not _DIGEST.search(image):
            tag = image.rpartition("/")[2].partition(":")[2]
            if tag in {"", "latest"}:
                yield overlay.finding(what, field, f"{image} has no tag of its own")
    if overlay.closed and (len(registries) > 1 or registries & {"docker.io", "quay.io", "ghcr.io"}):
        said = f"take all from the registry within, not from {', '.join(sorted(registries))}"
        yield overlay.finding("images", "image", said)


def unset(overlay: Overlay) -> int:
    """Return how many images are named by the digest that no image has."""
    return len({image for _, _, image in named(overlay) if image.endswith(UNSET)})


def named(overlay: Overlay) -> Iterator[tuple[Pod | Object, str, str]]:
    """Yield every image with who names it, and where."""
    for pod in overlay.pods:
        for path, container in pod.containers():
            yield pod, f"{path}.image", str(container.get("image", ""))
    for cluster in overlay.of("RabbitmqCluster"):
        yield cluster, "spec.image", str((cluster.get("spec") or {}).get("image", ""))
