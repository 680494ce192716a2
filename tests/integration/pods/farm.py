"""All pods of an overlay on one node, with the secrets that an operator makes for them."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.integration.pods.manifests import Cluster, Pod, chosen, flows, loaded, overlay, rendered
from tests.integration.pods.network import Network
from tests.integration.pods.pods import Node, RunningPod
from tests.unit.scaffold.project import ROOT

TENANT = "acme"
# What the image of RabbitMQ runs; all else our manifests say. Its idle threads would spin before
# they sleep, on a machine with few cores for all these pods.
_CALM = {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none"}
COMMANDS = {
    "rabbitmq": (
        ["/usr/lib/rabbitmq/bin/rabbitmq-server"],
        {"HOME": "/var/lib/rabbitmq", "ERL_CRASH_DUMP_BYTES": "0", **_CALM},
    )
}


@dataclass
class Farm:
    """Pods that run, by the name of their owner."""

    cluster: Cluster
    node: Node
    pods: dict[str, RunningPod]

    def one_more(self, name: str) -> RunningPod:
        """Start one more pod of an owner, as a rollout or an autoscaler does."""
        pod = self.pods[name].pod
        number = sum(each.pod.name == name for each in self.pods.values()) + 1
        more = RunningPod(pod, self.node, f"{name}-{number}")
        self.pods[more.name] = more
        self._link(more)
        more.start()
        return more

    def _link(self, more: RunningPod) -> None:
        kinds: list[Pod] = list({each.pod.name: each.pod for each in self.pods.values()}.values())
        for source, target in flows(kinds, self.cluster):
            if more.pod.name == source:
                self.node.network.link(more.name, target)

    def variables(self, role: str) -> dict[str, str]:
        """Return what a client of that role needs, to reach the farm from the node."""
        secret, settings = self.cluster.data("Secret", role), self.settings
        return {
            "TINYMLAAS_AMQP_URL": self._resolved(secret["amqp-url"]),
            "TINYMLAAS_S3_ENDPOINT": self._resolved(settings["TINYMLAAS_S3_ENDPOINT"]),
            "TINYMLAAS_S3_BUCKET": settings["TINYMLAAS_S3_BUCKET"],
            "TINYMLAAS_QUEUE_PREFIX": settings["TINYMLAAS_QUEUE_PREFIX"],
            "AWS_DEFAULT_REGION": settings["AWS_DEFAULT_REGION"],
            "AWS_ACCESS_KEY_ID": secret["s3-access-key-id"],
            "AWS_SECRET_ACCESS_KEY": secret["s3-secret-access-key"],
        }

    def _resolved(self, url: str) -> str:
        """Return `url` with an address for the name of a service, as the node has no such names."""
        host = urlsplit(url).hostname or ""
        return re.sub(rf"(//|@){re.escape(host)}\b", rf"\g<1>{self.node.hosts[host]}", url)

    @property
    def settings(self) -> dict[str, str]:
        """What all processes of the farm are told."""
        maps = self.cluster.of("ConfigMap")
        return next(dict(m["data"]) for m in maps if m["metadata"]["name"].startswith("farm-"))


@contextlib.contextmanager
def opened(folder: Path, name: str, only: frozenset[str] | None = None) -> Iterator[Farm]:
    """Start all pods of overlay `name`, or `only` some, and wait until all are ready."""
    cluster = Cluster([*rendered(overlay(name)), *_secrets(folder / "secrets")])
    network = Network()
    node = Node(folder, network, commands=COMMANDS)
    farm = Farm(cluster, node, {})
    try:
        pods = [pod for pod in cluster.pods() if only is None or pod.name in only]
        farm.pods |= {pod.name: RunningPod(pod, node) for pod in pods}
        for source, target in flows(pods, cluster):
            network.link(source, target)
        node.hosts |= _services(farm)
        stateful = [each for each in farm.pods.values() if each.pod.owner["kind"] == "StatefulSet"]
        _start(stateful)
        _start([each for each in farm.pods.values() if each not in stateful])
        yield farm
    finally:
        for running in farm.pods.values():
            running.kill()
        network.remove()


def _start(pods: Sequence[RunningPod]) -> None:
    """Start pods beside one another, and wait until all are ready."""

    def start(running: RunningPod) -> None:
        running.start()
        running.await_probe(running.main, "startupProbe")
        running.await_probe(running.main, "readinessProbe")

    with ThreadPoolExecutor(len(pods)) as kubelets:
        list(kubelets.map(start, pods))


def _secrets(folder: Path) -> list[dict[str, object]]:
    """Make what the farm keeps secret, as docs/deploy.md tells an operator to."""
    command = [sys.executable, "-m", "deploy.secrets", "--out", str(folder), "--tenant", TENANT]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return loaded(folder / "secrets.yaml")


def _services(farm: Farm) -> dict[str, str]:
    """Return the address of each Service that has a pod here, by all of its names."""
    found = {}
    for service in farm.cluster.of("Service"):
        name, space = service["metadata"]["name"], service["metadata"]["namespace"]
        selector = {"matchLabels": service["spec"]["selector"]}
        for running in farm.pods.values():
            if chosen(selector, running.pod.labels):
                for domain in ("", f".{space}", f".{space}.svc", f".{space}.svc.cluster.local"):
                    found[f"{name}{domain}"] = running.address
    return found
