"""The rendered manifests of an overlay, as the kubelet of one node reads them.

Only what our overlays use is understood; all else fails the test that meets it.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.integration.pods import seccomp
from tests.unit.scaffold.project import ROOT

Object = dict[str, Any]
_VOLUMES = {"emptyDir", "configMap", "secret", "persistent"}


def rendered(overlay: Path) -> list[Object]:
    """Return what `kubectl kustomize` makes of an overlay."""
    kubectl = Path(sys.executable).with_name("kubectl")
    told = subprocess.run([kubectl, "kustomize", overlay], capture_output=True, check=True)
    return [each for each in yaml.safe_load_all(told.stdout) if each]


@dataclass(frozen=True)
class Cluster:
    """All objects of a namespace, as the API server would have them."""

    objects: Sequence[Object]

    def one(self, kind: str, name: str) -> Object:
        """Return the object of that name; fails if there is none, or more than one."""
        found = [each for each in self.of(kind) if each["metadata"]["name"] == name]
        assert len(found) == 1, f"{kind} {name} is there {len(found)} times"
        return found[0]

    def of(self, kind: str) -> list[Object]:
        """Return all objects of a kind."""
        return [each for each in self.objects if each["kind"] == kind]

    def data(self, kind: str, name: str) -> dict[str, str]:
        """Return what a ConfigMap or Secret holds, decoded."""
        told = self.one(kind, name)
        encoded = told.get("data", {}) if kind == "Secret" else {}
        plain = told.get("stringData", {}) if kind == "Secret" else told.get("data", {})
        return {name: base64.b64decode(text).decode() for name, text in encoded.items()} | plain

    def pods(self) -> list[Pod]:
        """Return a pod of each Deployment and StatefulSet."""
        return [Pod(self, each) for kind in ("Deployment", "StatefulSet") for each in self.of(kind)]


@dataclass(frozen=True)
class Pod:
    """The pods of one Deployment or StatefulSet."""

    cluster: Cluster
    owner: Object

    @property
    def name(self) -> str:
        """The name of its owner."""
        return str(self.owner["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return dict(self._template["metadata"]["labels"])

    @property
    def spec(self) -> Object:
        """Its specification."""
        return dict(self._template["spec"])

    @property
    def _template(self) -> Object:
        return dict(self.owner["spec"]["template"])

    @property
    def grace(self) -> int:
        """Seconds from SIGTERM to SIGKILL."""
        return int(self.spec["terminationGracePeriodSeconds"])

    @property
    def once(self) -> list[Told]:
        """Init containers that run to their end, one after the other."""
        return [each for each in self._init if not each.lasts]

    @property
    def sidecars(self) -> list[Told]:
        """Init containers that go on beside the others."""
        return [each for each in self._init if each.lasts]

    @property
    def _init(self) -> list[Told]:
        return [Told(self, each) for each in self.spec.get("initContainers", ())]

    @property
    def containers(self) -> list[Told]:
        """Its containers."""
        return [Told(self, each) for each in self.spec["containers"]]

    @property
    def volumes(self) -> dict[str, Object]:
        """Its volumes by name: a kind and what is told of it."""
        found = {each["name"]: each for each in self.spec.get("volumes", ())}
        for claim in self.owner["spec"].get("volumeClaimTemplates", ()):
            name = claim["metadata"]["name"]
            found[name] = {"name": name, "persistent": claim["spec"]}
        for each in found.values():
            assert len(each) == 2
            assert set(each) - {"name"} <= _VOLUMES, each
        return found


@dataclass(frozen=True)
class Told:
    """One container, as its pod tells of it."""

    pod: Pod
    spec: Object

    @property
    def name(self) -> str:
        """Its name within the pod."""
        return str(self.spec["name"])

    @property
    def lasts(self) -> bool:
        """Whether it is a sidecar."""
        return self.spec.get("restartPolicy") == "Always"

    @property
    def arguments(self) -> list[str]:
        """Its command with its arguments; empty command: that of the image."""
        found = [*self.spec.get("command", ()), *self.spec.get("args", ())]
        assert not any("$(" in each for each in found), "variables in arguments"
        return found

    @property
    def variables(self) -> dict[str, str]:
        """Its environment, references followed."""
        assert self.pod.spec["enableServiceLinks"] is False
        found: dict[str, str] = {}
        for source in self.spec.get("envFrom", ()):
            (kind, told), *more = source.items()
            assert kind == "configMapRef"
            assert not more
            found |= self.pod.cluster.data("ConfigMap", told["name"])
        for each in self.spec.get("env", ()):
            found[each["name"]] = each["value"] if "value" in each else self._from(each)
        assert not any("$(" in value for value in found.values()), "variables in variables"
        return found

    def _from(self, told: Object) -> str:
        (kind, reference), *more = told["valueFrom"].items()
        assert not more
        kinds = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}
        data = self.pod.cluster.data(kinds[kind], reference["name"])
        if reference.get("optional") and reference["key"] not in data:
            return ""
        return data[reference["key"]]

    def secured(self, name: str) -> Any:
        """Return what the container, or else the pod, says in its security context."""
        own = self.spec.get("securityContext", {})
        return own.get(name, self.pod.spec.get("securityContext", {}).get(name))

    @property
    def filter(self) -> bytes:
        """The seccomp filter that it runs under."""
        profile = self.secured("seccompProfile")
        if profile["type"] == "RuntimeDefault":
            return seccomp.compiled(seccomp.runtime_default())
        assert profile["type"] == "Localhost"
        place, _, name = profile["localhostProfile"].rpartition("/")
        assert place == "profiles", "deploy/node/README.md names that folder"
        assert (seccomp.NODE / name).is_file(), name
        return seccomp.compiled(seccomp.worker())

    def check_restricted(self) -> None:
        """Fail if it is not what we make of it: no power at all."""
        own = self.spec["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["readOnlyRootFilesystem"] is True
        assert self.secured("runAsNonRoot") is True
        assert self.secured("runAsUser") > 0

    def port(self, wanted: int | str) -> int:
        """Return a port by its name or number."""
        if isinstance(wanted, int):
            return wanted
        ports = {each["name"]: each["containerPort"] for each in self.spec.get("ports", ())}
        return int(ports[wanted])


def flows(pods: Sequence[Pod], cluster: Cluster) -> dict[tuple[str, str], set[int]]:
    """Return which pod may reach which other, at which ports, as the NetworkPolicies say.

    Who serves is told by a Service; all pods must be chosen by a policy of each direction.
    """
    found: dict[tuple[str, str], set[int]] = {}
    for source in pods:
        for target in pods:
            out = _ports(source, target, cluster, "egress", "to")
            into = _ports(target, source, cluster, "ingress", "from")
            if source.name != target.name and out & into:
                found[source.name, target.name] = out & into
    return found


def _ports(pod: Pod, other: Pod, cluster: Cluster, direction: str, peer: str) -> set[int]:
    """Return the ports at which policies of `pod` let it speak with `other` in that direction."""
    policies = [
        each["spec"]
        for each in cluster.of("NetworkPolicy")
        if direction.capitalize() in each["spec"]["policyTypes"]
        and chosen(each["spec"]["podSelector"], pod.labels)
    ]
    assert policies, f"{pod.name} may reach, or be reached by, everything"
    serves = other if direction == "egress" else pod
    return {
        _number(serves, port["port"])
        for policy in policies
        for rule in policy.get(direction, ())
        if any(_is_peer(each, other) for each in rule[peer])
        for port in rule["ports"]
        if port["protocol"] == "TCP"
    } - {0}


def _is_peer(told: Object, pod: Pod) -> bool:
    """Return whether a rule's peer is that pod: of our namespace, not of another, no address."""
    return set(told) == {"podSelector"} and chosen(told["podSelector"], pod.labels)


def _number(pod: Pod, wanted: int | str) -> int:
    """Return the number of a port of the pod; 0 if it has none of that name."""
    if isinstance(wanted, int):
        return wanted
    named = [p for c in pod.containers for p in c.spec.get("ports", ()) if p["name"] == wanted]
    return int(named[0]["containerPort"]) if named else 0


def chosen(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a label selector takes what has these labels."""
    wanted = selector.get("matchLabels", {})
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    for each in selector.get("matchExpressions", ()):
        assert each["operator"] == "In"
        if labels.get(each["key"]) not in each["values"]:
            return False
    return True


def loaded(path: Path) -> list[Object]:
    """Return the objects of a YAML file."""
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def overlay(name: str) -> Path:
    """Return the folder of an overlay of ours."""
    return ROOT / "deploy" / "k8s" / "overlays" / name


def names(objects: Iterable[Object]) -> list[str]:
    """Return kind and name of each, for messages."""
    return [f"{each['kind']} {each['metadata']['name']}" for each in objects]
