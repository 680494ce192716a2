"""Who may talk to whom: everything is denied, and what processes need is allowed at both ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from deploy.check.model import Finding, Object, Overlay, Pod, name_of, selects
from deploy.check.settings import is_ours, module, told
from tinymlaas.farm_settings import AMQP_VARIABLE, ENDPOINT_VARIABLE

Labels = Mapping[str, str]
_OTLP_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
_BROKER, _BROKER_PORTS = "rabbitmq", (5672, 5671)
_HTTPS = 443
_OF_THE_NODE = "169.254.20.10/32"  # NodeLocal DNSCache
_SCRAPES = {"tinymlaas.dev/scrapes": "true"}
_KEDA, _MANAGEMENT = {"kubernetes.io/metadata.name": "keda"}, 15672


def check(overlay: Overlay) -> Iterator[Finding]:
    """Yield pods under no policy, flows that processes need and nobody allows, and open doors."""
    policies = list(overlay.of("NetworkPolicy"))
    if not any(map(_denies_all, policies)):
        said = "there is none that selects all pods and allows nothing, in both directions"
        yield overlay.finding("NetworkPolicy", "(whole)", said)
    for policy in policies:
        yield from _open(overlay, policy)
    for pod in overlay.pods:
        yield from _covered(overlay, pod)
        for _, container in pod.main():
            yield from _needs(overlay, pod, container)
    for monitor in overlay.of("PodMonitor"):
        yield from _scraped(overlay, monitor)
    for labels in overlay.foreign_pods:
        entered = _enters_from(overlay, labels, _KEDA, _MANAGEMENT)
        if any(overlay.of("ScaledObject")) and not entered:
            said = f"no NetworkPolicy lets KEDA ask RabbitMQ (port {_MANAGEMENT})"
            yield overlay.finding("ScaledObject", "(whole)", said)


def _denies_all(policy: Object) -> bool:
    spec = policy.get("spec") or {}
    nothing = not spec.get("ingress") and not spec.get("egress")
    both = set(spec.get("policyTypes") or ()) == {"Ingress", "Egress"}
    return spec.get("podSelector") == {} and both and nothing


def _open(overlay: Overlay, policy: Object) -> Iterator[Finding]:
    spec = policy.get("spec") or {}
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(direction) or ():
            peers = rule.get(side)
            field = f"spec.{direction}"
            if not rule.get("ports"):
                yield overlay.finding(
                    policy, field, "allows every port: name those that are needed"
                )
            if not peers and direction == "ingress":
                yield overlay.finding(policy, field, "lets everybody in: say from where")
            out = not peers or any(_outside(peer) for peer in peers)
            if direction == "egress" and overlay.closed and out:
                said = "leads out of the cluster, from where nothing may leave"
                yield overlay.finding(policy, field, said)
            ours = any(selects(spec.get("podSelector"), pod.labels) for pod in overlay.pods)
            if direction == "egress" and not peers and ours:
                said = "lets pods of ours go everywhere: say where to"
                yield overlay.finding(policy, field, said)


def _outside(peer: Mapping[str, Any]) -> bool:
    return "ipBlock" in peer and peer["ipBlock"].get("cidr") != _OF_THE_NODE


def _covered(overlay: Overlay, pod: Pod) -> Iterator[Finding]:
    for direction in ("Ingress", "Egress"):
        if not any(_applies(each, pod.labels, direction) for each in overlay.of("NetworkPolicy")):
            said = f"no NetworkPolicy selects it for {direction}: all is allowed"
            yield overlay.finding(pod, "(whole)", said)


def _needs(overlay: Overlay, pod: Pod, container: Mapping[str, Any]) -> Iterator[Finding]:
    """See that a process reaches what its environment names: broker, store, collector."""
    if not is_ours(container) or module(container) == "tinymlaas.signer":
        return
    found = told(overlay, container)
    if not _leaves(overlay, pod, (53,)):
        yield overlay.finding(pod, "(whole)", "no NetworkPolicy lets it ask for names (port 53)")
    if AMQP_VARIABLE in found.secret:
        yield from _reaches(overlay, pod, _BROKER, _BROKER_PORTS, "RabbitMQ")
    if "AWS_ACCESS_KEY_ID" in found.secret:
        url = urlsplit(found.plain.get(ENDPOINT_VARIABLE, ""))
        yield from _reaches(overlay, pod, url.hostname or "", (url.port or _HTTPS,), "S3")
    if endpoint := found.plain.get(_OTLP_VARIABLE):
        url = urlsplit(endpoint)
        yield from _reaches(
            overlay, pod, url.hostname or "", (url.port or _HTTPS,), "the collector"
        )
    if module(container) == "workers":
        yield from _only_watched(overlay, pod)


def _reaches(
    overlay: Overlay, pod: Pod, host: str, ports: tuple[int, ...], what: str
) -> Iterator[Finding]:
    """See that the pod may leave for one of `ports`, and arrive where the host is a Service."""
    shown = " or ".join(map(str, ports))
    targets = _behind(overlay, host)
    if not targets:
        if not _leaves(overlay, pod, ports):
            said = f"no NetworkPolicy lets it reach {what} (port {shown})"
            yield overlay.finding(pod, "(whole)", said)
        return
    for target in targets:
        if not any(_flows(overlay, pod.labels, target, port) for port in ports):
            said = f"no pair of NetworkPolicies lets it reach {what}: {host}, port {shown}"
            yield overlay.finding(pod, "(whole)", said)


def _behind(overlay: Overlay, host: str) -> list[Labels]:
    """Return the labels of the pods that a Service of this overlay leads to."""
    service = overlay.get("Service", host)
    selector = {"matchLabels": ((service or {}).get("spec") or {}).get("selector") or {"?": "?"}}
    found: list[Labels] = [p.labels for p in overlay.pods if selects(selector, p.labels)]
    clusters = (name_of(each) for each in overlay.of("RabbitmqCluster"))
    return found + [f for n, f in zip(clusters, overlay.foreign_pods, strict=True) if n == host]


def _scraped(overlay: Overlay, monitor: Object) -> Iterator[Finding]:
    spec = monitor.get("spec") or {}
    for pod in overlay.pods:
        if not selects(spec.get("selector"), pod.labels):
            continue
        for each in spec.get("podMetricsEndpoints") or ():
            port = _number(overlay, pod.labels, each.get("port"))
            if port is not None and not _enters_from(overlay, pod.labels, _SCRAPES, port):
                said = f"no NetworkPolicy lets its pods be scraped ({pod.owner}, port {port})"
                yield overlay.finding(monitor, "spec.selector", said)


def _only_watched(overlay: Overlay, pod: Pod) -> Iterator[Finding]:
    """See that only who scrapes may come: a worker serves nobody."""
    for policy in overlay.of("NetworkPolicy"):
        if not _applies(policy, pod.labels, "Ingress"):
            continue
        for rule in (policy.get("spec") or {}).get("ingress") or ():
            for peer in rule.get("from") or ():
                if (peer.get("namespaceSelector") or {}).get("matchLabels") != _SCRAPES:
                    said = f"lets others than who scrapes come to {pod.owner}, which serves nobody"
                    yield overlay.finding(policy, "spec.ingress", said)


def _leaves(overlay: Overlay, pod: Pod, ports: Iterable[int]) -> bool:
    return any(
        _covers(overlay, pod.labels, rule, port)
        for rule in _rules(overlay, pod.labels, "Egress")
        for port in ports
    )


def _flows(overlay: Overlay, source: Labels, target: Labels, port: int) -> bool:
    """Return whether `source` may leave for `target` at `port`, and arrive there."""
    leaves = any(
        _covers(overlay, target, rule, port) and _names(rule.get("to"), target)
        for rule in _rules(overlay, source, "Egress")
    )
    return leaves and any(
        _covers(overlay, target, rule, port) and _names(rule.get("from"), source)
        for rule in _rules(overlay, target, "Ingress")
    )


def _enters_from(overlay: Overlay, labels: Labels, namespace: Labels, port: int) -> bool:
    return any(
        _covers(overlay, labels, rule, port)
        and any(
            selects(each.get("namespaceSelector"), namespace) for each in rule.get("from") or ()
        )
        for rule in _rules(overlay, labels, "Ingress")
    )


def _rules(overlay: Overlay, labels: Labels, direction: str) -> Iterator[Mapping[str, Any]]:
    for policy in overlay.of("NetworkPolicy"):
        if _applies(policy, labels, direction):
            yield from (policy.get("spec") or {}).get(direction.lower()) or ()


def _applies(policy: Object, labels: Labels, direction: str) -> bool:
    spec = policy.get("spec") or {}
    return direction in (spec.get("policyTypes") or ()) and selects(spec.get("podSelector"), labels)


def _names(peers: Iterable[Mapping[str, Any]] | None, labels: Labels) -> bool:
    """Return whether one of `peers` is a pod of this namespace with `labels`; none means all."""
    return not peers or any(
        "namespaceSelector" not in each and selects(each.get("podSelector"), labels)
        for each in peers
    )


def _covers(overlay: Overlay, labels: Labels, rule: Mapping[str, Any], port: int) -> bool:
    """Return whether the rule is about `port` of the pods with `labels`."""
    named = (each.get("port") for each in rule.get("ports") or ())
    return not rule.get("ports") or port in {_number(overlay, labels, each) for each in named}


def _number(overlay: Overlay, labels: Labels, port: Any) -> int | None:
    """Return the number of a port that may be given by the name it has in the pod."""
    if isinstance(port, int) or port is None:
        return port
    for pod in overlay.pods:
        if pod.labels == labels:
            for _, container in pod.main():
                for each in container.get("ports") or ():
                    if each.get("name") == port:
                        return int(each["containerPort"])
    return None
