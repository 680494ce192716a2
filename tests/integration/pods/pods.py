"""Pods as a kubelet runs them: volumes, init containers, sidecars, probes, an end with grace."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.pods.container import Container, Mount, Running
from tests.integration.pods.manifests import Object, Pod, Told
from tests.integration.pods.network import Network

_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
_READY_SECONDS = 300.0
_RESTARTS, _BACK_OFF_SECONDS = 3, 2.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Node:
    """One node: where volumes lie, the network, and the commands of images that we do not build."""

    folder: Path
    network: Network
    hosts: dict[str, str] = field(default_factory=dict)
    commands: Mapping[str, tuple[Sequence[str], Mapping[str, str]]] = field(default_factory=dict)


class RunningPod:
    """A pod that was started, or is to be."""

    def __init__(self, pod: Pod, node: Node, name: str = "") -> None:
        """Give it a network and its volumes; nothing is started."""
        self.pod, self.node, self.name = pod, node, name or pod.name
        self.address = node.network.add(self.name)
        self.folder = node.folder / self.name
        self.containers: dict[str, Running] = {}
        self.restarts = 0
        self._volumes = {name: self._volume(name, told) for name, told in pod.volumes.items()}

    def _volume(self, name: str, told: Object) -> Path:
        """Make a volume as the kubelet does: of root, and of the pod's group."""
        group = self.pod.spec["securityContext"]["fsGroup"]
        place = self.folder / "volumes" / name
        place.mkdir(parents=True)
        data: dict[str, str] = {}
        if "configMap" in told:
            data = self.pod.cluster.data("ConfigMap", told["configMap"]["name"])
        elif "secret" in told:
            data = self.pod.cluster.data("Secret", told["secret"]["secretName"])
        mode = told.get("secret", told.get("configMap", {})).get("defaultMode", 0o644)
        for file, content in data.items():
            (place / file).write_text(content)
            os.chown(place / file, 0, group)
            (place / file).chmod(mode | 0o440)  # fsGroup adds what the group needs to read
        os.chown(place, 0, group)
        place.chmod(0o2755 if data else 0o2777)
        return place

    def start(self) -> None:
        """Run init containers and sidecars in their order, then start the containers."""
        for told in self.pod.once:
            running = self._begin(told)
            status = running.wait(60.0)
            assert status == 0, f"{self.name} {told.name}: {status}: {running.said()}"
        for told in self.pod.sidecars:
            self._begin(told)
            self.await_probe(told, "startupProbe")
        for told in self.pod.containers:
            self._begin(told)

    def _begin(self, told: Told) -> Running:
        told.check_restricted()
        running = Running(self._container(told), self.folder / f"{told.name}.log")
        self.containers[told.name] = running
        running.start()
        return running

    def _container(self, told: Told) -> Container:
        arguments, more = told.arguments, {}
        image = told.spec["image"].partition(":")[0]
        if not told.spec.get("command"):
            command, more = self.node.commands[image]
            arguments = [*command, *arguments]
        hosts = {"localhost": "127.0.0.1", **self.node.hosts, self.name: self.address}
        return Container(
            arguments=arguments,
            variables={**more, **told.variables},
            mounts=[self._mount(each) for each in told.spec.get("volumeMounts", ())],
            uid=told.secured("runAsUser"),
            gid=told.secured("runAsGroup"),
            groups=[told.secured("fsGroup")],
            filter=told.filter,
            network=self.node.network.namespace(self.name),
            hostname=self.name,
            files={"/etc/hosts": "".join(f"{ip}\t{name}\n" for name, ip in hosts.items())},
            memory=size_of(told.spec["resources"]["limits"]["memory"]),
        )

    def _mount(self, told: Object) -> Mount:
        source = self._volumes[told["name"]] / told.get("subPath", "")
        return Mount(told["mountPath"], source, read_only=told.get("readOnly", False))

    def told(self, container: str) -> Told:
        """Return what is told of one of its containers."""
        every = (*self.pod.sidecars, *self.pod.containers)
        return next(each for each in every if each.name == container)

    @property
    def main(self) -> Told:
        """What is told of its first container."""
        return self.pod.containers[0]

    def await_probe(self, told: Told, kind: str) -> None:
        """Wait until a probe succeeds: a startup probe as long as it says, others five minutes,
        as a pod that is not ready is left alone.
        """
        probe, running = told.spec[kind], self.containers[told.name]
        tries = probe.get("failureThreshold", 3) * probe.get("periodSeconds", 10)
        end = time.monotonic() + (tries if kind == "startupProbe" else _READY_SECONDS)
        while not self.probe(told, kind):
            assert time.monotonic() < end, f"{self.name}: {kind} fails: {running.said()}"
            if not running.runs:  # as after `restartPolicy: Always`
                self.restarts += 1
                assert self.restarts <= _RESTARTS, f"{self.name} ends: {running.said()}"
                time.sleep(_BACK_OFF_SECONDS)
                running.wait(0)
                running.start()
            time.sleep(0.2)

    def probe(self, told: Told, kind: str) -> bool:
        """Ask once."""
        probe = told.spec[kind]
        seconds = float(probe.get("timeoutSeconds", 1))
        if "httpGet" in probe:
            asked = probe["httpGet"]
            return self.page(told.port(asked["port"]), asked["path"], seconds)[0] == 200
        if "tcpSocket" in probe:
            place = (self.address, told.port(probe["tcpSocket"]["port"]))
            with contextlib.suppress(OSError), socket.create_connection(place, seconds):
                return True
            return False
        running = self.containers[told.name]
        uid = told.secured("runAsUser")
        return running.execute(probe["exec"]["command"], uid) == 0

    def page(self, port: int, path: str, seconds: float = 60.0) -> tuple[int, str]:
        """Return status and text of a page of the pod; 0 if nobody answers."""
        try:
            with _DIRECT.open(f"http://{self.address}:{port}{path}", timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def terminate(self) -> dict[str, int]:
        """End it as a kubelet does: SIGTERM to the containers, then to the sidecars, all within the
        pod's grace; return the status of each, 137 for who had to be killed.
        """
        deadline = time.monotonic() + self.pod.grace
        found: dict[str, int] = {}
        groups = [self.pod.containers, *([each] for each in reversed(self.pod.sidecars))]
        for group in groups:
            for told in group:
                self.containers[told.name].signal(signal.SIGTERM)
            for told in group:
                left = max(deadline - time.monotonic(), 0.1)
                found[told.name] = self.containers[told.name].wait(left)
        return found

    def kill(self) -> None:
        """End whatever of it still runs, at once."""
        for running in self.containers.values():
            running.kill()

    def overfull(self) -> list[str]:
        """Say which emptyDirs hold more than they may."""
        found = []
        for name, told in self.pod.volumes.items():
            most = told.get("emptyDir", {}).get("sizeLimit")
            files = [each for each in self._volumes[name].rglob("*") if each.is_file()]
            held = sum(each.lstat().st_size for each in files)
            if most is not None and held > size_of(most):
                found.append(f"{self.name}: {name} holds {held} bytes of {most}")
        return found


def size_of(text: str) -> int:
    """Return bytes of a quantity such as 2Gi."""
    return int(float(text[:-2]) * _UNITS[text[-2:]])
