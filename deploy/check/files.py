"""Whether the files that processes are told of are there, and theirs to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from deploy.check.model import Finding, Overlay, Pod
from deploy.check.names import missing
from deploy.check.settings import is_ours, module, option, told
from tinymlaas.farm.environment import POLICY_VARIABLE
from tinymlaas.settings import KEYRING_VARIABLE, SIGNER_VARIABLE

_FILES = (POLICY_VARIABLE, KEYRING_VARIABLE, SIGNER_VARIABLE)
_OF_ALL = 0o004


def check(overlay: Overlay) -> Iterator[Finding]:
    """Yield paths at which there is nothing, and Secrets that nobody but root could read."""
    for pod in overlay.pods:
        for path, container in pod.containers():
            yield from _named(overlay, pod, path, container)
            keys = option(container, "--keys") if module(container) == "tinymlaas.signer" else None
            volume, _ = _within(pod, container, keys or "")
            if keys and (volume.get("emptyDir") or {}).get("medium") != "Memory":
                said = f"{keys} has to be an emptyDir of `medium: Memory`: no key lies on a disk"
                yield overlay.finding(pod, f"{path}.args", said)
        for volume in pod.spec.get("volumes") or ():
            yield from _readable(overlay, pod, volume)


def _named(
    overlay: Overlay, pod: Pod, path: str, container: Mapping[str, Any]
) -> Iterator[Finding]:
    """Follow every path of the command, and of variables that name a file, into its volume."""
    words = [*(container.get("command") or ())[1:], *(container.get("args") or ())]
    wanted = [(f"{path}.command", str(word).rpartition("=")[2]) for word in words]
    plain = told(overlay, container).plain if is_ours(container) else {}
    wanted += [(f"{path}.env[{name}]", plain[name]) for name in _FILES if plain.get(name)]
    for field, place in wanted:
        volume, key = _within(pod, container, place)
        config, secret = volume.get("configMap") or {}, volume.get("secret") or {}
        said = None
        if key and config:
            said = missing(overlay, "ConfigMap", config.get("name", "?"), key)
        elif key and secret:
            said = missing(overlay, "Secret", secret.get("secretName", "?"), key)
        elif not volume and place.startswith("/"):
            said = f"there is no volume at {place}"
        if said:
            yield overlay.finding(pod, field, said)


def _within(pod: Pod, container: Mapping[str, Any], place: str) -> tuple[Mapping[str, Any], str]:
    """Return the volume that `place` lies in, and where in it; none if it lies in no volume."""
    volumes = {each.get("name"): each for each in pod.spec.get("volumes") or ()}
    for mount in container.get("volumeMounts") or ():
        at = PurePosixPath(mount.get("mountPath", "/"))
        if "subPath" not in mount and PurePosixPath(place).is_relative_to(at):
            key = str(PurePosixPath(place).relative_to(at))
            claimed = {"name": mount.get("name")}
            return volumes.get(mount.get("name"), claimed), "" if key == "." else key
    return {}, ""


def _readable(overlay: Overlay, pod: Pod, volume: Mapping[str, Any]) -> Iterator[Finding]:
    mode = (volume.get("secret") or {}).get("defaultMode", _OF_ALL)
    if not mode & _OF_ALL and (pod.spec.get("securityContext") or {}).get("fsGroup") is None:
        said = f"nobody but root could read volumes[{volume.get('name')}]: give the pod a group"
        yield overlay.finding(pod, "securityContext.fsGroup", said)
