"""What a container may: Pod Security's profile ``restricted``, and somewhat less."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.check.model import Finding, Object, Overlay, Pod
from deploy.check.settings import is_ours, module

_PROFILE = "pod-security.kubernetes.io/enforce"
_VOLUMES = {"configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim", "downwardAPI"}
_PROFILES = {"RuntimeDefault", "Localhost"}
_ON_NODES = Path(__file__).parent.parent / "node" / "seccomp"


def check(overlay: Overlay) -> Iterator[Finding]:
    """Yield every right that a namespace, pod or container has and must not have."""
    namespaces = list(overlay.of("Namespace"))
    for thing in namespaces:
        labels = thing["metadata"].get("labels") or {}
        if labels.get(_PROFILE) != "restricted":
            yield overlay.finding(thing, "metadata.labels", f"{_PROFILE} has to be restricted")
    if not namespaces:
        yield overlay.finding("Namespace", "(whole)", "there is none, so nothing is enforced")
    for pod in overlay.pods:
        yield from _pod(overlay, pod)
        for path, container in pod.containers():
            yield from _container(overlay, pod, path, container)
    for cluster in overlay.of("RabbitmqCluster"):
        yield from _of_the_operator(overlay, cluster)


def _of_the_operator(overlay: Overlay, cluster: Object) -> Iterator[Finding]:
    """Yield what the profile would refuse of pods that RabbitMQ's operator makes."""
    whole = ((cluster.get("spec") or {}).get("override") or {}).get("statefulSet") or {}
    spec = ((whole.get("spec") or {}).get("template") or {}).get("spec") or {}
    context = spec.get("securityContext") or {}
    sound = context.get("runAsNonRoot") is True
    if not sound or (context.get("seccompProfile") or {}).get("type") not in _PROFILES:
        said = "has to have runAsNonRoot and a seccompProfile, or no pod of it is admitted"
        yield overlay.finding(cluster, "spec.override.statefulSet", said)
    for field, name in (("initContainers", "setup-container"), ("containers", "rabbitmq")):
        own: Mapping[str, Any] = {}
        for each in spec.get(field) or ():
            own = (each.get("securityContext") or {}) if each.get("name") == name else own
        dropped = (own.get("capabilities") or {}).get("drop") or ()
        if own.get("allowPrivilegeEscalation") is not False or "ALL" not in dropped:
            said = f"{name} has to drop ALL and to allow no escalation, or no pod of it is admitted"
            yield overlay.finding(cluster, f"spec.override.statefulSet.{field}", said)


def _pod(overlay: Overlay, pod: Pod) -> Iterator[Finding]:
    for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if pod.spec.get(field):
            yield overlay.finding(
                pod, field, "a pod shares nothing with its node or its containers"
            )
    for volume in pod.spec.get("volumes") or ():
        if set(volume) == {"name"}:
            yield overlay.finding(pod, f"volumes[{volume['name']}]", "is of no kind: an empty one")
        if kinds := set(volume) - {"name"} - _VOLUMES:
            said = f"{sorted(kinds)[0]} is not allowed by the profile restricted"
            yield overlay.finding(pod, f"volumes[{volume.get('name')}]", said)
    account = pod.spec.get("serviceAccountName")
    if pod.spec.get("automountServiceAccountToken") is not False:
        said = "set it to false: no process of ours asks the Kubernetes API"
        yield overlay.finding(pod, "automountServiceAccountToken", said)
    if account is None or overlay.get("ServiceAccount", account) is None:
        yield overlay.finding(pod, "serviceAccountName", f"there is no ServiceAccount {account}")
    context = pod.spec.get("securityContext") or {}
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield overlay.finding(
            pod, "securityContext", "runs as root; give it a runAsUser of its own"
        )
    if context.get("sysctls"):
        yield overlay.finding(pod, "securityContext.sysctls", "not allowed")


def _container(
    overlay: Overlay, pod: Pod, path: str, container: Mapping[str, Any]
) -> Iterator[Finding]:
    own = container.get("securityContext") or {}
    whole = {**(pod.spec.get("securityContext") or {}), **own}
    capabilities = own.get("capabilities") or {}
    profile = (whole.get("seccompProfile") or {}).get("type")
    user = whole.get("runAsUser")
    wrong = {
        "runAsNonRoot": whole.get("runAsNonRoot") is not True and "has to be true",
        "runAsUser": (not isinstance(user, int) or user == 0) and "has to be a number, not 0",
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False
        and "has to be false",
        "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is not True
        and "has to be true; mount an emptyDir where it writes",
        "privileged": bool(own.get("privileged")) and "must not be set",
        "procMount": own.get("procMount", "Default") != "Default" and "has to be Default",
        "capabilities.drop": "ALL" not in (capabilities.get("drop") or ()) and "has to have ALL",
        "capabilities.add": bool(capabilities.get("add")) and "must not be set",
        "seccompProfile": profile not in _PROFILES and "has to be RuntimeDefault or Localhost",
    }
    if module(container) == "workers":
        place = str((whole.get("seccompProfile") or {}).get("localhostProfile", ""))
        known = {f"profiles/{each.name}" for each in _ON_NODES.glob("*.json")}
        wrong["seccompProfile.localhostProfile"] = (
            place not in known and "has to be one of deploy/node/seccomp/: the sandbox needs it"
        )
    for field, said in wrong.items():
        if said:
            yield overlay.finding(pod, f"{path}.securityContext.{field}", said)
    for port in container.get("ports") or ():
        if port.get("hostPort"):
            yield overlay.finding(pod, f"{path}.ports", "hostPort is not allowed")
    yield from _keys(overlay, pod, path, container)


def _keys(overlay: Overlay, pod: Pod, path: str, container: Mapping[str, Any]) -> Iterator[Finding]:
    """Private keys are seen by the signer, never by a worker, whose inputs are strangers'."""
    if not is_ours(container) or module(container) == "tinymlaas.signer":
        return
    signers = {
        mount["name"]
        for _, each in pod.containers()
        if module(each) == "tinymlaas.signer"
        for mount in each.get("volumeMounts") or ()
    }
    private = {
        volume["name"]
        for volume in pod.spec.get("volumes") or ()
        if "secret" in volume
        or (volume["name"] in signers and (volume.get("emptyDir") or {}).get("medium") == "Memory")
    }
    for mount in container.get("volumeMounts") or ():
        if mount["name"] in private:
            said = "a key's volume is mounted where models are handled; only the signer may have it"
            yield overlay.finding(pod, f"{path}.volumeMounts[{mount['name']}]", said)
