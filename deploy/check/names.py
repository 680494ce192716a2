"""Whether what names something else, by name, key, label or port, finds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from broker.topology import Names, topology
from deploy.check.model import Finding, Object, Overlay, Pod, name_of, selects, title
from deploy.check.settings import module, option, told
from deploy.secrets import POOLS, keys_made
from tinymlaas.contract.pool_messages import PREPARE_POOL
from tinymlaas.farm.environment import POOLS_VARIABLE
from tinymlaas.farm.roles import SCHEDULER, worker_role
from tinymlaas.farm_settings import PREFIX_VARIABLE

# Made by hand for the cluster at hand (docs/deploy.md), besides what `deploy.secrets` makes.
_BY_HAND = {("Secret", "registry"), ("Secret", "status-page-tls")}
_OF_THE_CLUSTER = {"Namespace", "PriorityClass", "RuntimeClass"}
_KEY = "signing-key-"
_EVICTION = "unhealthyPodEvictionPolicy"
_PRIORITIES = {"system-cluster-critical", "system-node-critical"}
_SCALER_KEYS = {"protocol", "mode", "value", "queueName", "excludeUnacknowledged", "vhostName"}

_Reference = tuple[str, str, str, str | None]
"""Where it stands, of what kind and name the object is, and which of its keys is meant."""


def check(overlay: Overlay) -> Iterator[Finding]:
    """Yield every name that leads nowhere."""
    for thing, times in Counter(map(title, overlay.objects)).items():
        if times > 1:
            yield overlay.finding(thing, "metadata.name", f"is there {times} times")
    yield from _namespaces(overlay)
    for secret in overlay.of("Secret"):
        said = "stands in the manifests, where all can read it: make it by python -m deploy.secrets"
        yield overlay.finding(secret, "(whole)", said)
    for pod in overlay.pods:
        yield from _sources(overlay, pod)
        yield from _mounts(overlay, pod)
        yield from _placing(overlay, pod)
        yield from _roles(overlay, pod)
    yield from _selectors(overlay)
    yield from _services(overlay)
    yield from _scrapes(overlay)
    yield from _scaled(overlay)
    yield from _users(overlay)
    yield from _pools(overlay)


def _namespaces(overlay: Overlay) -> Iterator[Finding]:
    """See that all is in the namespace that the overlay makes, and not where kubectl stands."""
    own = {name_of(each) for each in overlay.of("Namespace")}
    for thing in overlay.objects:
        named = str(thing["metadata"].get("namespace"))
        if thing["kind"] not in _OF_THE_CLUSTER and named not in own:
            said = f"is {named}, not {', '.join(own)}: give the overlay `namespace:`"
            yield overlay.finding(thing, "metadata.namespace", said)


def missing(overlay: Overlay, kind: str, name: str, key: str | None) -> str | None:
    """Say what is wrong with a reference to a ConfigMap's or Secret's key, if anything is."""
    thing = overlay.get(kind, name)
    if thing is not None:
        keys = {*(thing.get("data") or {}), *(thing.get("stringData") or {})}
    elif (kind, name) in _made(overlay):
        keys = _made(overlay)[kind, name]
    elif (kind, name) in _BY_HAND:
        return None
    else:
        return f"there is no {kind} {name}, and python -m deploy.secrets makes none"
    return f"{kind} {name} has no key {key}" if key is not None and key not in keys else None


def _made(overlay: Overlay) -> Mapping[tuple[str, str], set[str]]:
    """Return what `deploy.secrets` makes for the pools that this overlay has, and ours."""

    def made() -> dict[tuple[str, str], set[str]]:
        labelled = (pod.labels.get("tinymlaas.dev/pool") for pod in overlay.pods)
        return keys_made({*POOLS, *filter(None, labelled)})

    return overlay.once("made", made)


def _sources(overlay: Overlay, pod: Pod) -> Iterator[Finding]:
    """Follow the references of environments and volumes to ConfigMaps and Secrets."""
    wanted = [each for path, container in pod.containers() for each in _read(path, container)]
    for volume in pod.spec.get("volumes") or ():
        field = f"volumes[{volume.get('name')}]"
        if to := volume.get("configMap"):
            wanted += _items(field, "ConfigMap", to.get("name", "?"), to)
        if to := volume.get("secret"):
            wanted += _items(field, "Secret", to.get("secretName", "?"), to)
    for each in pod.spec.get("imagePullSecrets") or ():
        wanted.append(("imagePullSecrets", "Secret", each.get("name", "?"), None))
    for where, kind, name, key in wanted:
        if said := missing(overlay, kind, name, key):
            yield overlay.finding(pod, where, said)


def _read(path: str, container: Mapping[str, Any]) -> Iterator[_Reference]:
    for each in container.get("env") or ():
        source = each.get("valueFrom") or {}
        for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            if to := source.get(field):
                yield f"{path}.env[{each['name']}]", kind, to.get("name", "?"), to.get("key")
    for each in container.get("envFrom") or ():
        for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if to := each.get(field):
                yield f"{path}.envFrom", kind, to.get("name", "?"), None


def _items(field: str, kind: str, name: str, source: Mapping[str, Any]) -> Iterator[_Reference]:
    yield field, kind, name, None
    for item in source.get("items") or ():
        yield field, kind, name, item.get("key")


def _mounts(overlay: Overlay, pod: Pod) -> Iterator[Finding]:
    volumes = {each.get("name"): each for each in pod.spec.get("volumes") or ()}
    owner = overlay.get(pod.kind, pod.name) or {}
    claimed = {name_of(c) for c in owner.get("spec", {}).get("volumeClaimTemplates") or ()}
    used = set()
    for path, container in pod.containers():
        for mount in container.get("volumeMounts") or ():
            name = mount.get("name")
            used.add(name)
            if name not in {*volumes, *claimed}:
                yield overlay.finding(
                    pod, f"{path}.volumeMounts[{name}]", "there is no such volume"
                )
            config = (volumes.get(name) or {}).get("configMap") or {}
            if (
                "subPath" in mount
                and config
                and (
                    said := missing(overlay, "ConfigMap", config.get("name", "?"), mount["subPath"])
                )
            ):
                yield overlay.finding(pod, f"{path}.volumeMounts[{name}]", said)
    for name in sorted(set(volumes) - used, key=str):
        yield overlay.finding(pod, f"volumes[{name}]", "nobody mounts it")


def _placing(overlay: Overlay, pod: Pod) -> Iterator[Finding]:
    priority = pod.spec.get("priorityClassName")
    if priority is None or (
        overlay.get("PriorityClass", priority) is None and priority not in _PRIORITIES
    ):
        yield overlay.finding(pod, "priorityClassName", f"there is no PriorityClass {priority}")
    if pod.kind == "Deployment" and not pod.spec.get("topologySpreadConstraints"):
        said = "is missing: all could be on one node"
        yield overlay.finding(pod, "topologySpreadConstraints", said)
    for number, each in enumerate(pod.spec.get("topologySpreadConstraints") or ()):
        if not selects(each.get("labelSelector"), pod.labels):
            said = "its selector does not select the pod itself, so nothing is spread"
            yield overlay.finding(pod, f"topologySpreadConstraints[{number}].labelSelector", said)
    budgets = [
        each
        for each in overlay.of("PodDisruptionBudget")
        if selects((each.get("spec") or {}).get("selector"), pod.labels)
    ]
    scaled = pod.kind == "Deployment" and (pod.replicas is None or pod.replicas > 1)
    if scaled and not budgets:
        yield overlay.finding(pod, "(whole)", "no PodDisruptionBudget selects its pods")
    for each in budgets:
        if pod.kind == "Deployment" and each["spec"].get(_EVICTION) != "AlwaysAllow":
            said = "has to be AlwaysAllow: while RabbitMQ is away none is ready, and no node drains"
            yield overlay.finding(each, f"spec.{_EVICTION}", said)


def _roles(overlay: Overlay, pod: Pod) -> Iterator[Finding]:
    """See that a process has the credentials of its own role and of no other."""
    for path, container in pod.main():
        program = module(container)
        if program not in {"scheduler", "workers"}:
            continue
        pool = option(container, "--pool") or "?"
        role = SCHEDULER if program == "scheduler" else worker_role(pool)
        for variable, (name, _) in told(overlay, container).secret.items():
            if name != role and variable != "TINYMLAAS_STATUS_TOKEN":
                said = f"{variable} is of the role {name}, not of {role}"
                yield overlay.finding(pod, f"{path}.env[{variable}]", said)
        for volume in pod.spec.get("volumes") or ():
            key = (volume.get("secret") or {}).get("secretName", "")
            if key.startswith(_KEY) and key != f"{_KEY}{pool}":
                said = f"{key} is another pool's: what it signs would be another's"
                yield overlay.finding(pod, f"volumes[{volume['name']}]", said)


def _selectors(overlay: Overlay) -> Iterator[Finding]:
    """See that what selects pods selects some; a Deployment its own."""
    labels = [pod.labels for pod in overlay.pods] + list(overlay.foreign_pods)
    for thing in overlay.of("Deployment", "StatefulSet", "DaemonSet"):
        spec = thing.get("spec") or {}
        own = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        if not selects(spec.get("selector"), own):
            said = "does not select the pods that it makes"
            yield overlay.finding(thing, "spec.selector", said)
        others = [p for p in overlay.pods if p.owner != title(thing)]
        if any(selects(spec.get("selector"), p.labels) for p in others):
            yield overlay.finding(thing, "spec.selector", "selects another owner's pods too")
    fields = {"PodDisruptionBudget": "selector", "PodMonitor": "selector"}
    for thing in overlay.of(*fields, "NetworkPolicy", "Service"):
        field = fields.get(thing["kind"], "podSelector")
        selector = (thing.get("spec") or {}).get(field)
        if thing["kind"] == "Service":
            field = "selector"
            selector = {"matchLabels": (thing.get("spec") or {}).get("selector") or {"?": "?"}}
        if not any(selects(selector, each) for each in labels):
            yield overlay.finding(thing, f"spec.{field}", "selects no pod of this overlay")


def _ports(overlay: Overlay, selector: Mapping[str, Any]) -> set[str | int]:
    """Return names and numbers of the ports of all pods selected."""
    return {
        value
        for pod in overlay.pods
        if selects(selector, pod.labels)
        for _, container in pod.main()
        for port in container.get("ports") or ()
        for value in (port.get("name"), port.get("containerPort"))
        if value is not None
    }


def _services(overlay: Overlay) -> Iterator[Finding]:
    for thing in overlay.of("Service"):
        spec = thing.get("spec") or {}
        there = _ports(overlay, {"matchLabels": spec.get("selector") or {"?": "?"}})
        for port in spec.get("ports") or ():
            target = port.get("targetPort", port.get("port"))
            if target not in there:
                yield overlay.finding(thing, "spec.ports", f"no pod of it has the port {target}")
    for thing in overlay.of("Ingress"):
        for rule in (thing.get("spec") or {}).get("rules") or ():
            for path in (rule.get("http") or {}).get("paths") or ():
                backend = (path.get("backend") or {}).get("service") or {}
                service = overlay.get("Service", backend.get("name", "?")) or {}
                ports = (service.get("spec") or {}).get("ports") or ()
                port = backend.get("port") or {}
                if not any(
                    port.get("name") == each.get("name") or port.get("number") == each.get("port")
                    for each in ports
                ):
                    said = f"{path.get('path')} leads to {backend}, which is not there"
                    yield overlay.finding(thing, "spec.rules", said)
        for each in (thing.get("spec") or {}).get("tls") or ():
            lost = missing(overlay, "Secret", each.get("secretName", "?"), None)
            if lost:
                yield overlay.finding(thing, "spec.tls", lost)


def _scrapes(overlay: Overlay) -> Iterator[Finding]:
    for thing in overlay.of("PodMonitor"):
        spec = thing.get("spec") or {}
        there = _ports(overlay, spec.get("selector") or {})
        for each in spec.get("podMetricsEndpoints") or ():
            if each.get("port") not in there:
                said = f"no pod that it selects has a port called {each.get('port')}"
                yield overlay.finding(thing, "spec.podMetricsEndpoints", said)


def _scaled(overlay: Overlay) -> Iterator[Finding]:
    """See that an autoscaler counts a queue of the farm, for a Deployment that is there."""
    plain = _of_the_scheduler(overlay)
    names = Names(plain.get(PREFIX_VARIABLE, ""))
    queues = {each.name for each in topology(_expected(plain), names).queues}
    for thing in overlay.of("ScaledObject"):
        spec = thing.get("spec") or {}
        target = (spec.get("scaleTargetRef") or {}).get("name", "?")
        if overlay.get("Deployment", target) is None:
            yield overlay.finding(thing, "spec.scaleTargetRef", f"there is no Deployment {target}")
        for trigger in spec.get("triggers") or ():
            yield from _trigger(overlay, thing, trigger, queues)
        if target != worker_role(PREPARE_POOL) and not spec.get("initialCooldownPeriod"):
            said = "is missing: the pool would end before a worker has said what it can, for ever"
            yield overlay.finding(thing, "spec.initialCooldownPeriod", said)
        replicas = (overlay.get("Deployment", target) or {}).get("spec", {}).get("replicas")
        if replicas is not None:
            said = f"Deployment {target} has replicas too: every apply would undo the scaling"
            yield overlay.finding(thing, "spec.scaleTargetRef", said)
    for thing in overlay.of("TriggerAuthentication"):
        references = (thing.get("spec") or {}).get("secretTargetRef") or ()
        if not any(each.get("parameter") == "host" for each in references):
            said = "gives no host: KEDA knows neither where RabbitMQ is nor a password"
            yield overlay.finding(thing, "spec.secretTargetRef", said)
        for each in references:
            lost = missing(overlay, "Secret", each.get("name", "?"), each.get("key"))
            if lost:
                yield overlay.finding(thing, "spec.secretTargetRef", lost)


def _pools(overlay: Overlay) -> Iterator[Finding]:
    """See that the scheduler expects those pools whose workers are here, and no other."""
    expected = set(_expected(_of_the_scheduler(overlay)))
    there = {
        option(container, "--pool"): pod
        for pod in overlay.pods
        for _, container in pod.main()
        if module(container) == "workers"
    }
    for name, pod in there.items():
        if name not in expected:
            said = f"the scheduler's {POOLS_VARIABLE} does not name {name}: it has no queue"
            yield overlay.finding(pod, "containers[worker].args", said)
    for name in sorted(expected - set(there)):
        said = f"{POOLS_VARIABLE} names {name}, of which no Deployment runs workers"
        yield overlay.finding(f"Deployment/{SCHEDULER}", "containers[scheduler].env", said)


def _of_the_scheduler(overlay: Overlay) -> Mapping[str, str]:
    for pod in overlay.pods:
        for _, container in pod.main():
            if module(container) == "scheduler":
                return told(overlay, container).plain
    return {}


def _expected(plain: Mapping[str, str]) -> list[str]:
    return [each.strip() for each in plain.get(POOLS_VARIABLE, "").split(",") if each.strip()]


def _trigger(
    overlay: Overlay, thing: Object, trigger: Mapping[str, Any], queues: set[str]
) -> Iterator[Finding]:
    metadata = trigger.get("metadata") or {}
    name = (trigger.get("authenticationRef") or {}).get("name", "?")
    if overlay.get("TriggerAuthentication", name) is None:
        said = f"there is no TriggerAuthentication {name}"
        yield overlay.finding(thing, "spec.triggers.authenticationRef", said)
    if trigger.get("type") != "rabbitmq":
        return
    for key in sorted(set(metadata) - _SCALER_KEYS):
        said = (
            f"{key} is none of the settings that our scalers use: {', '.join(sorted(_SCALER_KEYS))}"
        )
        yield overlay.finding(thing, "spec.triggers.metadata", said)
    if metadata.get("queueName") not in queues:
        said = f"the farm declares no queue {metadata.get('queueName')}"
        yield overlay.finding(thing, "spec.triggers.metadata.queueName", said)
    wanted = {"protocol": "http", "mode": "QueueLength", "excludeUnacknowledged": "false"}
    for key, value in wanted.items():
        if metadata.get(key) != value:
            said = f"has to be {value}, or tasks that are worked on do not count"
            yield overlay.finding(thing, f"spec.triggers.metadata.{key}", said)
    if not 0 < _number(metadata.get("value")) < 1:
        said = "has to be between 0 and 1: a queue is never longer than there are workers"
        yield overlay.finding(thing, "spec.triggers.metadata.value", said)


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return 0.0


def _users(overlay: Overlay) -> Iterator[Finding]:
    """See that users and permissions lead to a cluster, a user and credentials."""
    clusters = {name_of(each) for each in overlay.of("RabbitmqCluster")}
    budgets = [each.get("spec") or {} for each in overlay.of("PodDisruptionBudget")]
    for labels in overlay.foreign_pods:
        if not any(selects(each.get("selector"), labels) for each in budgets):
            said = "no PodDisruptionBudget selects its pods: two at once take the majority"
            named = f"RabbitmqCluster/{labels['app.kubernetes.io/name']}"
            yield overlay.finding(named, "(whole)", said)
    for thing in overlay.of("User", "Permission", "TopicPermission"):
        spec = thing.get("spec") or {}
        cluster = (spec.get("rabbitmqClusterReference") or {}).get("name")
        if cluster not in clusters:
            said = f"there is no RabbitmqCluster {cluster}"
            yield overlay.finding(thing, "spec.rabbitmqClusterReference", said)
        secret = str((spec.get("importCredentialsSecret") or {}).get("name"))
        if thing["kind"] == "User":
            for key in ("username", "password"):
                if lost := missing(overlay, "Secret", secret, key):
                    yield overlay.finding(thing, "spec.importCredentialsSecret", lost)
        user = (spec.get("userReference") or {}).get("name")
        if thing["kind"] != "User" and overlay.get("User", str(user)) is None:
            yield overlay.finding(thing, "spec.userReference", f"there is no User {user}")
