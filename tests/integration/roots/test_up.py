"""`tinymlaas farm up --private`: one command, and jobs go through."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from storage.provenance import pool_builder
from tests.integration.roots.running_up import Client, Up, alive, family, farm_up, page
from tests.services import stub_compiler
from tests.services.stub_compiler import Stub
from tests.unit.scaffold.project import ROOT
from tinymlaas.keyrings import rotate
from tinymlaas.telemetry.table import METRICS
from workers import guardian

VARIABLES = ("TINYMLAAS_AMQP_URL", "TINYMLAAS_S3_ENDPOINT", "TINYMLAAS_S3_BUCKET",
             "TINYMLAAS_KEYRING", "TINYMLAAS_TENANT", "TINYMLAAS_QUEUE_PREFIX", "AWS_ACCESS_KEY_ID",
             "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION",
             "no_proxy", "NO_PROXY", "TINYMLAAS_METRICS_SCHEDULER",
             "TINYMLAAS_METRICS_PREPARE", "TINYMLAAS_METRICS_STUB")  # fmt: skip


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with guardian.scratch("test-up") as made:
        yield made


@pytest.fixture(scope="module")
def stub(folder: Path) -> Stub:
    return stub_compiler.install(folder / "stub")


@pytest.fixture(scope="module")
def up(folder: Path, stub: Stub) -> Iterator[Up]:
    """A farm for the tests of this file; SIGTERM must end it and all it has started."""
    variables = {
        "TINYMLAAS_COMPILERS": str(stub.folder),
        "TINYMLAAS_UNSAFE_NO_SANDBOX": "1",  # the stub writes down what it is told to do
        # What a user may have about that must not get in the way:
        "http_proxy": "http://127.0.0.1:9",
        "AWS_SESSION_TOKEN": "of another session",
        "AWS_PROFILE": "none",
        "TINYMLAAS_HTTP_HOST": "127.0.0.2",
    }
    state = folder / "state"
    state.mkdir(mode=0o755)
    named = ("--pool", "stub", "--tenant", "acme", "--tenant", "rival")
    with farm_up(state, "--private", *named, variables=variables) as running:
        yield running
        processes = family(running.process.pid)
        assert len(processes) > 5, "guardian, RabbitMQ, S3, scheduler, two workers"
        assert running.drain() == 0
        assert not list(state.glob("*env"))
        running.until(lambda: not alive(processes))


def values(url: str) -> dict[tuple[str, ...], float]:
    status, text = page(url)
    assert status == 200
    return {
        (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(url: str) -> set[str]:
    families = text_string_to_metric_families(page(url)[1])
    return {label for family in families for sample in family.samples for label in sample.labels}


def test_the_env_file_has_all_a_client_needs(up: Up) -> None:
    assert stat.S_IMODE((up.state / "env").stat().st_mode) == 0o600
    assert stat.S_IMODE(up.state.stat().st_mode) == 0o755, "it was there, and is not ours to change"
    assert set(up.env) == set(VARIABLES)
    shell = ["sh", "-c", '. "$1" && env', "sh", str(up.state / "env")]
    sourced = subprocess.run(shell, env={}, capture_output=True, text=True, check=True).stdout
    exported = dict(line.split("=", 1) for line in sourced.splitlines() if "=" in line)
    assert {name: exported[name] for name in VARIABLES} == up.env
    assert Path(up.env["TINYMLAAS_KEYRING"]).is_relative_to(up.state)


def test_each_tenant_has_a_file_and_a_user_of_its_own(up: Up) -> None:
    def read(name: str) -> dict[str, str]:
        assert stat.S_IMODE((up.state / name).stat().st_mode) == 0o600
        words = [shlex.split(line)[1] for line in (up.state / name).read_text().splitlines()]
        return dict(word.split("=", 1) for word in words)

    rival, operator = read("rival.env"), read("operator.env")
    assert (up.env["TINYMLAAS_TENANT"], rival["TINYMLAAS_TENANT"]) == ("acme", "rival")
    for name in ("TINYMLAAS_AMQP_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert len({up.env[name], rival[name], operator[name]}) == 3


def test_the_status_page_is_opened_by_a_token_of_its_own(up: Up) -> None:
    """It is asked with the scheduler's user, which has its role's rights and no others."""
    file = up.state / "status-token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = file.read_text().strip()
    url = up.env["TINYMLAAS_METRICS_SCHEDULER"].removesuffix("metrics")
    assert f"status page at {url}" in up.said()
    assert page(url)[0] == 401
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        shown = answer.read().decode()
    assert "workers busy" in shown, "it knows how the farm stands"
    assert token not in up.said()
    assert all(token not in each.read_text() for each in up.state.glob("*env"))
    for name, pid in up.pids().items():
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert (token.encode() in environment) == (name == "scheduler"), name


def test_no_process_but_the_signer_has_the_key(up: Up) -> None:
    """Neither in its environment, nor open; and the signer's memory is shut."""
    worker = up.pids()["worker stub"]
    below = family(worker)
    signers = [pid for pid in below if b"tinymlaas.signer" in command_of(pid)]
    assert len(signers) == 1
    secret = next((up.state / "keys").glob("builder-stub.key")).read_bytes()
    for pid in {worker, *below} - set(signers):
        assert secret.splitlines()[1] not in Path(f"/proc/{pid}/environ").read_bytes()
        opened = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.exists()]
        assert not any(name.endswith(".key") for name in opened)
    assert Path(f"/proc/{signers[0]}/mem").stat().st_uid == 0, "not dumpable: root's alone"


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_job_goes_through_and_is_counted(up: Up, stub: Stub) -> None:
    with Client(up.env) as client:
        client.submit("one", stub.order("acme", "one"))
        client.await_states({"one": "done"})
        client.submit("two", stub.order("acme", "one"))
        client.await_states({"two": "done"})
    assert stub.begun().count("one") == 1
    scheduler, worker = up.env["TINYMLAAS_METRICS_SCHEDULER"], up.env["TINYMLAAS_METRICS_STUB"]
    up.until(lambda: values(scheduler)["tinymlaas_jobs_ended_total", "done", "standard"] >= 2)
    found = values(scheduler)
    assert found["tinymlaas_job_seconds_count", "done", "standard"] >= 2
    assert found["tinymlaas_job_wait_seconds_count", "standard"] >= 2
    assert found["tinymlaas_compile_seconds_count", "stub", "built"] >= 1
    assert found["tinymlaas_compile_seconds_sum", "stub", "built"] > 0
    assert found["tinymlaas_prepare_seconds_count", "inspect", "done"] == 1
    assert found["tinymlaas_cache_hits_total", "scheduler"] >= 1
    assert found["tinymlaas_scheduler_active",] == 1
    assert found["process_resident_memory_bytes",] > 0
    up.until(lambda: values(scheduler)["tinymlaas_pool_workers", "stub", "idle"] == 1)
    # Asked of the store once the end is told.
    up.until(lambda: values(worker)["tinymlaas_module_bytes_sum", "stub"] > 0)
    of_worker = values(worker)
    assert of_worker["tinymlaas_worker_busy_seconds_total", "stub"] > 0
    assert of_worker["tinymlaas_worker_tasks_total", "built", "stub"] >= 1
    with Client(up.env) as client:
        jobs = {f"same-{number}": "done" for number in range(5)}
        for job in jobs:
            client.submit(job, stub.order("acme", "same", milliseconds="500"))
        client.await_states(jobs)
    assert stub.begun().count("same") == 1
    up.until(lambda: values(scheduler)["tinymlaas_merges_total",] >= 1)
    known = {label for metric in METRICS for label in metric.labels} | {"le"}
    assert labels(scheduler) | labels(worker) <= known
    assert not known & {"job", "job_id", "tenant", "action", "task_id", "model", "name"}


def test_health_of_each_process(up: Up) -> None:
    urls = [url for name, url in up.env.items() if name.startswith("TINYMLAAS_METRICS_")]
    assert len(urls) == 3
    for url in urls:
        base = url.removesuffix("/metrics")
        assert page(f"{base}/healthz")[0] == 200
        assert page(f"{base}/readyz")[0] == 200
    scheduler = up.env["TINYMLAAS_METRICS_SCHEDULER"].removesuffix("/metrics")
    up.until(lambda: page(f"{scheduler}/readyz")[1] == "active\n")


def test_a_second_farm_on_the_same_state_is_refused(up: Up) -> None:
    command = [sys.executable, "-m", "tinymlaas", "farm", "up", "--private", "--state"]
    done = subprocess.run(
        [*command, str(up.state)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "belong to a process that runs" in done.stderr
    assert (up.state / "env").exists()


@pytest.mark.parametrize("member", ["scheduler", "worker stub"])
def test_who_is_killed_is_started_again_and_works(up: Up, stub: Stub, member: str) -> None:
    os.kill(up.pids()[member], signal.SIGKILL)
    up.await_said(f"{member} was killed by SIGKILL; starting it again")
    job = f"after_{member.replace(' ', '_')}"
    with Client(up.env) as client:
        client.submit(job, stub.order("acme", job))
        client.await_states({job: "done"})


@pytest.mark.slow
def test_after_a_rotation_what_was_built_is_signed_anew(up: Up, stub: Stub, tmp_path: Path) -> None:
    """Without overlap: what only the old key has signed, nobody can verify any more."""

    def job(name: str) -> dict[str, str]:
        with Client(up.env) as client:
            client.submit(name, stub.order("acme", "turned"))
            client.await_states({name: "done"})
        command = [sys.executable, "-m", "tinymlaas", "fetch", name, "--json", "-o"]
        fetched = subprocess.run(
            [*command, str(tmp_path / name)],
            env={**os.environ, **up.env, "TINYMLAAS_KEYS": str(tmp_path / "mine")},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert fetched.returncode == 0, fetched.stdout
        found: dict[str, str] = json.loads(fetched.stdout)
        return found

    before = job("before_rotation")
    now = datetime.now(UTC)
    rotated = rotate(up.state / "keys", pool_builder("stub"), timedelta(0), None, now)
    again = "was killed by SIGKILL; starting it again"
    known = up.said().count(again)
    for member in ("scheduler", "worker stub"):  # what they remember is a minute old at most
        os.kill(up.pids()[member], signal.SIGKILL)
    up.until(lambda: up.said().count(again) == known + 2)
    after = job("after_rotation")
    assert before["signer"] != after["signer"] == rotated.keyring.keys[-1].fingerprint
    assert Path(before["module"]).read_bytes() == Path(after["module"]).read_bytes()
    assert stub.begun().count("turned") == 1
