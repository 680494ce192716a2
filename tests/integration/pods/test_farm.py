"""The farm that the manifests describe, run here: each container with the command, environment,
user, volumes, seccomp profile and memory limit that `kubectl kustomize` renders, RabbitMQ and S3
among them; reached through its Services, within its NetworkPolicies and by its probes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.pods.farm import TENANT, Farm
from tests.integration.pods.manifests import Object, chosen, loaded
from tests.integration.pods.pods import RunningPod
from tests.unit.scaffold.project import ROOT
from tinymlaas import Client, modules
from tinymlaas.client import Job
from tinymlaas.contract.messages import JobState
from tinymlaas.modules import Demands

SECONDS = 300.0
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
# Mounts that a runtime makes itself, where a container may write as well.
OF_THE_RUNTIME = ("/dev", "/proc", "/sys")


@pytest.fixture
def client(farm: Farm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Client]:
    for name, value in farm.variables(f"tenant-{TENANT}").items():
        monkeypatch.setenv(name, value)
    keyring = tmp_path / "keyring.json"
    keyring.write_text(farm.cluster.data("ConfigMap", "keyring")["keyring.json"])
    monkeypatch.setenv("TINYMLAAS_KEYRING", str(keyring))
    monkeypatch.setenv("TINYMLAAS_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("TINYMLAAS_TENANT", TENANT)
    with Client() as made:
        yield made


def submit(client: Client, name: str) -> Job:
    """Order a module of that name, which is another action for each name."""
    return client.submit(DIGITS, "nucleo-l4r5zi", name=name, compiler="tvm")


def test_a_job_comes_out_verified_and_signed(farm: Farm, client: Client, tmp_path: Path) -> None:
    job = submit(client, "through_pods")
    done = job.result(SECONDS)
    assert done.status is JobState.DONE, done.reasons
    fetched = job.fetch(tmp_path / "out")
    checked = modules.verify(Path(fetched.module), demands=Demands(require_sandbox=True))
    assert checked.archive.manifest.verification is not None
    assert checked.archive.manifest.compiler.name == "tvm"
    secret = farm.cluster.data("Secret", "signing-key-tvm")["builder-tvm.key"]
    for each in farm.pods.values():
        for running in each.containers.values():
            assert secret.splitlines()[1] not in running.said()


def test_every_probe_is_answered(farm: Farm) -> None:
    for each in farm.pods.values():
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            each.await_probe(each.main, kind)  # a kubelet too asks more than once
        assert each.restarts == 0, each.name


def test_metrics_are_where_the_pod_monitor_looks(farm: Farm) -> None:
    component = ROOT / "deploy" / "k8s" / "components" / "prometheus-operator"
    files = [each for path in component.rglob("*.yaml") for each in loaded(path)]
    monitors = [each["spec"] for each in files if each["kind"] == "PodMonitor"]
    seen = set()
    for each in farm.pods.values():
        for end in endpoints(monitors, each):
            seen.add(each.name)
            status, text = each.page(each.main.port(end["port"]), end.get("path", "/metrics"))
            assert status == 200
            assert list(text_string_to_metric_families(text))
            assert "tinymlaas_" in text
    ours = {each.name for each in farm.pods.values() if each.pod.owner["kind"] == "Deployment"}
    assert seen == ours


def endpoints(monitors: list[Object], running: RunningPod) -> list[Object]:
    """Return where the monitors look for metrics of a pod."""
    ours = [each for each in monitors if chosen(each["selector"], running.pod.labels)]
    return [end for each in ours for end in each["podMetricsEndpoints"]]


def test_nothing_is_written_but_in_volumes(farm: Farm) -> None:
    for each in farm.pods.values():
        for told in (*each.pod.sidecars, *each.pod.containers):
            running = each.containers[told.name]
            mounts = Path(f"/proc/{running.pid}/mountinfo").read_text().splitlines()
            writable = {line.split()[4] for line in mounts if "rw" in line.split()[5].split(",")}
            volumes = {
                mount["mountPath"]
                for mount in told.spec["volumeMounts"]
                if not mount.get("readOnly", False)
            }
            runtime = {path for path in writable if path.startswith(OF_THE_RUNTIME)}
            assert writable - runtime == volumes, f"{each.name} {told.name}"
            assert running.execute(["touch", "/usr/planted"], told.secured("runAsUser")) != 0
        assert each.overfull() == []


def test_only_the_flows_of_the_policies_are_there(farm: Farm) -> None:
    """That a job goes through shows that they are enough; here that they are no more."""
    worker, scheduler = farm.pods["worker-tvm"], farm.pods["scheduler"]
    assert reaches(worker, farm.pods["rabbitmq"], 5672)
    assert reaches(worker, farm.pods["seaweedfs"], 8333)
    assert not reaches(worker, scheduler, 9100)
    assert not reaches(worker, farm.pods["worker-prepare"], 9100)


def reaches(source: RunningPod, target: RunningPod, port: int) -> bool:
    ask = f"import socket; socket.create_connection(('{target.address}', {port}), 2)"
    return source.containers["worker"].execute([sys.executable, "-c", ask], 10001) == 0


def test_a_worker_that_is_told_to_end_ends_its_task_first(farm: Farm, client: Client) -> None:
    farm.one_more("worker-tvm")
    busy, job = started(farm, client)
    began = time.monotonic()
    statuses = busy.terminate()
    assert statuses == {"worker": 0, "signer": 0}
    assert time.monotonic() - began < busy.pod.grace
    said = busy.containers["worker"].said()
    assert '"drained"' in said
    done = job.result(SECONDS)
    assert done.status is JobState.DONE, done.reasons


def started(farm: Farm, client: Client) -> tuple[RunningPod, Job]:
    """Submit a job; return the worker that is at it, and the job."""
    workers = [each for each in farm.pods.values() if each.pod.name == "worker-tvm"]
    for number in range(5):
        job = submit(client, f"drained_{number}")
        deadline = time.monotonic() + 60
        while not job.status().final and time.monotonic() < deadline:
            for each in workers:
                if each.page(9100, "/readyz")[1].strip() == "busy":
                    return each, job
    raise AssertionError("no worker was ever seen busy")


def test_nothing_dead_is_left_unreaped(farm: Farm) -> None:
    """A container's first process gets all orphans; what it does not wait for stays for ever."""
    for each in farm.pods.values():
        for name, running in each.containers.items():
            if running.pid is None:
                continue
            for pid in running.children():
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                assert state != "Z", f"{each.name} {name}: {pid}"


def test_all_others_end_when_told_to(farm: Farm) -> None:
    """The last test of this file: afterwards there is no farm."""
    for each in farm.pods.values():
        if each.pod.owner["kind"] == "Deployment" and each.containers[each.main.name].runs:
            assert set(each.terminate().values()) == {0}, each.name
