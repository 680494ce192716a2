"""Probes, and how long a pod has to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.check.model import Finding, Overlay, Pod
from deploy.check.settings import build_seconds, is_ours, module, told
from tinymlaas.farm.environment import DRAIN_VARIABLE

_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_PATHS = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
_WHY = {
    "/healthz": "only a stuck loop is a reason to be restarted",
    "/readyz": "it says whether RabbitMQ and S3 are reached",
}
_TO_SAY_GOODBYE = 15  # after a drain: traces are sent, connections closed


def check(overlay: Overlay) -> Iterator[Finding]:
    """Yield missing probes, probes of the wrong page, and pods killed before they may be done."""
    for pod in overlay.pods:
        if pod.kind not in {"Job", "CronJob"}:
            for path, container in pod.main():
                yield from _probes(overlay, pod, path, container)
        for path, container in pod.containers():
            if container.get("restartPolicy") == "Always" and not container.get("startupProbe"):
                said = "is missing: the containers after it would begin before it is there"
                yield overlay.finding(pod, f"{path}.startupProbe", said)
        yield from _grace(overlay, pod)


def _probes(
    overlay: Overlay, pod: Pod, path: str, container: Mapping[str, Any]
) -> Iterator[Finding]:
    ports = {port.get("name") for port in container.get("ports") or ()}
    for name in _PROBES:
        probe = container.get(name)
        if not probe:
            yield overlay.finding(pod, f"{path}.{name}", "is missing")
            continue
        page = probe.get("httpGet") or {}
        port = (page or probe.get("tcpSocket") or {}).get("port")
        if isinstance(port, str) and port not in ports:
            said = f"asks the port {port}, which the container does not have"
            yield overlay.finding(pod, f"{path}.{name}.port", said)
        if is_ours(container) and page.get("path") != _PATHS[name]:
            said = f"asks {page.get('path')}, not {_PATHS[name]}: {_WHY[_PATHS[name]]}"
            yield overlay.finding(pod, f"{path}.{name}.httpGet.path", said)


def _grace(overlay: Overlay, pod: Pod) -> Iterator[Finding]:
    """See that a worker may drain for longer than a task takes, a pod end for longer still."""
    field = "terminationGracePeriodSeconds"
    grace = pod.spec.get(field)
    if grace is None:
        yield overlay.finding(pod, field, "is missing: 30 s are Kubernetes' choice, not ours")
        return
    longest = build_seconds(overlay)
    for path, container in pod.main():
        if module(container) != "workers" or longest is None:
            continue
        drain = _number(told(overlay, container).plain.get(DRAIN_VARIABLE))
        if drain is None:
            continue
        if drain <= longest:
            said = (
                f"{DRAIN_VARIABLE} {drain:g} is not more than the policy's build_seconds "
                f"{longest:g}: a task would be killed that may go on"
            )
            yield overlay.finding(pod, f"{path}.env", said)
        if grace < drain + _TO_SAY_GOODBYE:
            said = (
                f"{grace} is not {_TO_SAY_GOODBYE} s more than {DRAIN_VARIABLE} {drain:g}: "
                "the kubelet would kill a worker that drains"
            )
            yield overlay.finding(pod, field, said)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None  # said by `settings`
