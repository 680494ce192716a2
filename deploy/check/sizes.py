"""Whether every container says how much it needs, and gets enough of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.check.model import Finding, Overlay, Pod, quantity
from deploy.check.settings import module, told
from tinymlaas.farm.environment import MEMORY_VARIABLE

_KINDS = ("cpu", "memory", "ephemeral-storage")
# What a worker holds besides the job: itself, the task's process, libraries that the zygote has
# imported (TensorFlow's are the largest, and the pool prepare has more still).
BESIDES_THE_JOB = 1.5 * (1 << 30)


def check(overlay: Overlay) -> Iterator[Finding]:
    """Yield missing or contradictory requests, limits and sizes of volumes."""
    for pod in overlay.pods:
        for path, container in pod.containers():
            yield from _container(overlay, pod, path, container)
        yield from _volumes(overlay, pod)


def _container(
    overlay: Overlay, pod: Pod, path: str, container: Mapping[str, Any]
) -> Iterator[Finding]:
    resources = container.get("resources") or {}
    for kind in _KINDS:
        asked, most = ((resources.get(part) or {}).get(kind) for part in ("requests", "limits"))
        for part, value in (("requests", asked), ("limits", most)):
            if value is None:
                said = "is missing: say how much, or the node decides"
                yield overlay.finding(pod, f"{path}.resources.{part}.{kind}", said)
        if asked is not None and most is not None and _amount(asked) > _amount(most):
            said = f"requests {asked} and may have {most}"
            yield overlay.finding(pod, f"{path}.resources.requests.{kind}", said)
    yield from _job(overlay, pod, path, container)


def _job(overlay: Overlay, pod: Pod, path: str, container: Mapping[str, Any]) -> Iterator[Finding]:
    job = told(overlay, container).plain.get(MEMORY_VARIABLE)
    most = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    if module(container) == "workers" and job is None:
        said = f"{MEMORY_VARIABLE} is missing: a job may then take more than the container"
        yield overlay.finding(pod, f"{path}.env", said)
    if job is None or most is None:
        return
    needed = _amount(job.removesuffix("B")) + BESIDES_THE_JOB
    if _amount(most) < needed:
        said = (
            f"{most} is less than {MEMORY_VARIABLE}={job} and 1.5Gi for the worker itself: "
            "jobs would be killed by the kernel instead of being told their limit"
        )
        yield overlay.finding(pod, f"{path}.resources.limits.memory", said)


def _volumes(overlay: Overlay, pod: Pod) -> Iterator[Finding]:
    total = 0.0
    for volume in pod.spec.get("volumes") or ():
        if "emptyDir" not in volume:
            continue
        field = f"volumes[{volume.get('name')}].emptyDir.sizeLimit"
        directory = volume["emptyDir"] or {}
        if "sizeLimit" not in directory:
            yield overlay.finding(pod, field, "is missing: one pod could fill the node's disk")
        elif directory.get("medium") != "Memory":
            total += _amount(directory["sizeLimit"])
    limits = [(c.get("resources") or {}).get("limits") or {} for _, c in pod.containers()]
    most = sum(_amount(each.get("ephemeral-storage", 0)) for each in limits)
    if total > most:
        said = f"emptyDirs may hold {total / 2**20:.0f} MiB, all containers {most / 2**20:.0f} MiB"
        yield overlay.finding(pod, "resources.limits.ephemeral-storage", said)


def _amount(text: Any) -> float:
    """Return the number, or 0 for what is no quantity, which the schema's check says."""
    try:
        return quantity(text)
    except ValueError:
        return 0.0
