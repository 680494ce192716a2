"""Rendered objects, and what is found wrong with them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

Object = dict[str, Any]
T = TypeVar("T")
_WITH_PODS = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"}
_UNITS = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "Ki": 1024,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "T": 1e12,
    "Ti": 1 << 40,
}


@dataclass(frozen=True, order=True)
class Finding:
    """Something to be mended: in which overlay, at which field of which object, and how."""

    overlay: str
    object: str
    field: str
    said: str

    def line(self) -> str:
        """Return it in a line."""
        return f"{self.overlay}: {self.object}: {self.field}: {self.said}"


@dataclass(frozen=True)
class Pod:
    """A pod as its owner makes it. `owner` is the owner's kind and name, `replicas` None where an
    autoscaler says how many.
    """

    owner: str
    kind: str
    name: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    replicas: int | None

    def containers(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield every container with its path in the pod, those for the beginning first."""
        for field_ in ("initContainers", "containers"):
            for container in self.spec.get(field_, []):
                yield f"{field_}[{container.get('name', '?')}]", container

    def main(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the containers that make the pod, without those for its beginning."""
        yield from (each for each in self.containers() if each[0].startswith("containers"))


@dataclass(frozen=True)
class Overlay:
    """All objects of one overlay. `pinned` if its images must be named by digest, `closed` if
    nothing may leave the cluster.
    """

    name: str
    objects: Sequence[Object]
    pinned: bool = True
    closed: bool = False
    _memory: dict[str, Any] = field(default_factory=dict, compare=False)

    def of(self, *kinds: str) -> Iterator[Object]:
        """Yield the objects of these kinds."""
        yield from (each for each in self.objects if each.get("kind") in kinds)

    def get(self, kind: str, name: str) -> Object | None:
        """Return the object of this kind and name, if there is one."""
        return next((each for each in self.of(kind) if name_of(each) == name), None)

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The pods that its objects make."""
        return self.once("pods", lambda: tuple(_pod(each) for each in self.of(*_WITH_PODS)))

    @property
    def foreign_pods(self) -> tuple[Mapping[str, str], ...]:
        """The labels of pods that an operator makes of its own objects."""
        return tuple(
            {"app.kubernetes.io/name": name_of(each), "app.kubernetes.io/component": "rabbitmq"}
            for each in self.of("RabbitmqCluster")
        )

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` returns, which is called the first time that `name` is asked for."""
        if name not in self._memory:
            self._memory[name] = make()
        found: T = self._memory[name]
        return found

    def finding(self, what: Object | Pod | str, field_: str, said: str) -> Finding:
        """Return a finding in this overlay."""
        where = what.owner if isinstance(what, Pod) else what
        return Finding(self.name, where if isinstance(where, str) else title(where), field_, said)


def title(thing: Object) -> str:
    """Return kind and name."""
    return f"{thing.get('kind', '?')}/{name_of(thing)}"


def name_of(thing: Object) -> str:
    """Return the object's name."""
    return str((thing.get("metadata") or {}).get("name", "?"))


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector selects; an empty one selects all, None nothing."""
    if selector is None:
        return False
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    return all(_expression(each, labels) for each in selector.get("matchExpressions") or ())


def _expression(each: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    has, values = each["key"] in labels, each.get("values") or ()
    match each["operator"]:
        case "In":
            return has and labels[each["key"]] in values
        case "NotIn":
            return not has or labels[each["key"]] not in values
        case "Exists":
            return has
        case _:
            return not has


@functools.cache
def quantity(text: str | int | float) -> float:
    """Return a quantity of Kubernetes (``500m``, ``2Gi``) as a number.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{text!r} is no quantity")
    return float(found[1]) * _UNITS[found[2]]


def _pod(owner: Object) -> Pod:
    spec = owner.get("spec") or {}
    if owner.get("kind") == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template = owner if owner.get("kind") == "Pod" else spec.get("template") or {}
    return Pod(
        owner=title(owner),
        kind=str(owner.get("kind")),
        name=name_of(owner),
        labels=(template.get("metadata") or {}).get("labels") or {},
        spec=template.get("spec") or {},
        replicas=spec.get("replicas"),
    )
