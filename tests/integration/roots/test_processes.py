"""Scheduler and workers as processes: how they begin, what they say of themselves, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from broker.connecting import connect
from broker.declaring import remove
from broker.topology import Names, topology
from tests.integration.broker.helpers import until
from tests.integration.roots.running_up import Client, alive, family, farm_up
from tests.services import running, stub_compiler
from tests.services.farm import FarmProcess, RunningFarm, farm
from tests.services.stub_compiler import Stub
from tests.unit.scaffold.project import ROOT
from tinymlaas.services.ports import free_ports
from workers import guardian

SECONDS = 120.0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with guardian.scratch("test-roots") as made:
        yield made


@pytest.fixture(scope="module")
def stub(folder: Path) -> Stub:
    return stub_compiler.install(folder / "stub")


@pytest.fixture(scope="module")
def ours(folder: Path, stub: Stub) -> Iterator[RunningFarm]:
    with farm(folder / "farm", ["stub"], compilers=[stub.folder]) as started:
        yield started


def run(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


WRONG = {
    "a wrong password": (
        {"TINYMLAAS_AMQP_URL": lambda url: url.replace("tinymlaas:", "tinymlaas:x")},
        "does not let us in",
    ),
    "no AMQP URL": ({"TINYMLAAS_AMQP_URL": lambda _: "amqp://[broken"}, "no AMQP URL"),
    "a wrong secret": ({"AWS_SECRET_ACCESS_KEY": lambda _: "x" * 32}, "AWS_SECRET_ACCESS_KEY"),
    "no bucket's name": ({"TINYMLAAS_S3_BUCKET": lambda _: "No Bucket"}, "bucket"),
    "no compiler": ({"TINYMLAAS_COMPILERS": lambda _: "/none"}, "/none"),
    "two mistakes": (
        {"TINYMLAAS_S3_BUCKET": lambda _: "", "TINYMLAAS_HTTP_PORT": lambda _: "x"},
        "TINYMLAAS_HTTP_PORT",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_environment_is_told_and_status_2(ours: RunningFarm, case: str) -> None:
    changes, word = WRONG[case]
    env = ours.environment | {
        name: change(ours.environment.get(name, "")) for name, change in changes.items()
    }
    done = run("workers", "--pool", "stub", env=env)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert word in "\n".join(errors)
    assert len(errors) == len(changes)
    assert "Traceback" not in done.stderr
    for secret in ("TINYMLAAS_AMQP_URL", "AWS_SECRET_ACCESS_KEY"):
        assert env[secret] not in done.stderr


def test_a_pool_without_a_compiler_is_told(ours: RunningFarm) -> None:
    done = run("workers", "--pool", "nonsense", env=ours.environment)
    assert done.returncode == 2
    assert "no compiler is called 'nonsense'; there are: cmsis-nn, stub" in done.stderr


def test_a_broker_that_is_not_there_yet_is_waited_for(ours: RunningFarm) -> None:
    (port,) = free_ports(1)
    env = ours.environment | {"TINYMLAAS_AMQP_URL": f"amqp://guest:guest@127.0.0.1:{port}/"}
    process = FarmProcess("waiting", ["scheduler"], env, ours.folder)
    process.start()
    try:
        said = "trying again until it is there"
        until(lambda: said in process.log.read_text() or not process.running, SECONDS)
        assert process.running, process.log.read_text()
        assert process.get("/healthz")[0] == 200, "a restart would not help"
        assert process.get("/readyz")[0] == 503
        process.terminate()
        assert process.await_end(SECONDS) == 0
    finally:
        process.kill()


def test_a_second_scheduler_stands_by_and_takes_over(ours: RunningFarm, stub: Stub) -> None:
    first, second = ours.schedulers[0], ours.scheduler()
    assert second.await_page("/readyz").startswith("standby")
    first.terminate()
    assert first.await_end(SECONDS) == 0
    second.await_page("/readyz", "active")
    with Client(ours.environment) as client:
        client.submit("taken-over", stub.order("acme", "taken_over"))
        client.await_states({"taken-over": "done"})


def test_a_drained_worker_ends_its_task_and_takes_no_more(ours: RunningFarm, stub: Stub) -> None:
    (worker,) = ours.workers["stub"]
    with Client(ours.environment) as client:
        for job in ("drained", "left"):
            client.submit(job, stub.order("acme", job, milliseconds="2000"))
        until(lambda: bool({"drained", "left"} & {*stub.begun()}), SECONDS)
        worker.terminate()
        (first,) = {"drained", "left"} & {*stub.begun()}  # whichever came first
        client.await_states({first: "done"})
        assert worker.await_end(SECONDS) == 0
        assert set(stub.begun()) & {"drained", "left"} == {first}
        worker.start()
        client.await_states({({"drained", "left"} - {first}).pop(): "done"})
    assert [name for name in stub.begun() if name in {"drained", "left"}] in (
        ["drained", "left"],
        ["left", "drained"],
    )


def test_who_may_not_drain_longer_gives_its_task_up(ours: RunningFarm, stub: Stub) -> None:
    (worker,) = ours.workers["stub"]
    with Client(ours.environment) as client:
        client.submit("given-up", stub.order("acme", "given_up", milliseconds="600000"))
        until(lambda: "given_up" in stub.begun(), SECONDS)
        worker.terminate()
        worker.await_page("/readyz", "draining", status=503)
        worker.terminate()  # the second one
        assert worker.await_end(SECONDS) == -signal.SIGKILL
        worker.start()
        until(lambda: stub.begun().count("given_up") == 2, SECONDS)
        client.cancel("given-up", "acme")
        client.await_states({"given-up": "cancelled"})


def test_pages_when_the_broker_goes_and_comes_back(folder: Path, stub: Stub) -> None:
    broker = running.rabbitmq()
    url = {"TINYMLAAS_AMQP_URL": broker.url}
    with farm(folder / "away", ["stub"], compilers=[stub.folder], **url) as started:
        broker.kill()
        try:
            for process in started.processes():
                process.await_page("/readyz", status=503)
                assert process.get("/healthz")[0] == 200
        finally:
            broker.start()
        started.await_ready()
        with Client(started.environment) as client:
            client.submit("back", stub.order("acme", "back"))
            client.await_states({"back": "done"})


def test_farm_up_on_services_that_are_there_and_stopped_at_once(
    ours: RunningFarm, folder: Path, stub: Stub
) -> None:
    names = Names(f"{ours.names.prefix}up.")
    env = ours.environment | {"TINYMLAAS_QUEUE_PREFIX": names.prefix}
    with farm_up(folder / "up", "--pool", "stub=2", variables=env) as up:
        for name in ("TINYMLAAS_AMQP_URL", "TINYMLAAS_S3_BUCKET", "TINYMLAAS_QUEUE_PREFIX"):
            assert up.env[name] == env[name]
        assert {"TINYMLAAS_METRICS_STUB", "TINYMLAAS_METRICS_STUB_2"} < set(up.env)
        with Client(up.env) as client:
            client.submit("endless", stub.order("acme", "endless", milliseconds="600000"))
            up.until(lambda: "endless" in stub.begun())
        processes = family(up.process.pid)
        up.process.send_signal(signal.SIGTERM)
        up.await_said("draining")
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(SECONDS) == 0
        assert not (up.state / "env").exists()
        up.until(lambda: not alive(processes))
    with connect(ours.amqp_url, "test") as connection:
        remove(connection, topology(["stub", "prepare"], names))


def test_farm_up_without_services_is_told_what_is_missing(folder: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    done = run("tinymlaas", "farm", "up", "--pool", "tvm", env=env)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "set TINYMLAAS_AMQP_URL and TINYMLAAS_S3_BUCKET" in line


@pytest.mark.slow
def test_a_queue_that_somebody_deletes_is_made_again(ours: RunningFarm, stub: Stub) -> None:
    with Client(ours.environment) as client:
        client.channel.queue_delete(ours.names.outcomes)
        client.channel.queue_delete(ours.names.pool("stub"))
        ours.schedulers[-1].await_page("/readyz", "standby")
        ours.schedulers[-1].await_page("/readyz", "active")
        client.submit("deleted", stub.order("acme", "deleted"))
        client.await_states({"deleted": "done"})


def test_declare_may_be_repeated(ours: RunningFarm) -> None:
    for _ in range(2):
        done = run("tinymlaas", "farm", "declare", env=ours.environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("declared 5 exchanges, ")


def test_declare_says_what_is_in_the_way(ours: RunningFarm) -> None:
    env = ours.environment | {"TINYMLAAS_QUEUE_PREFIX": f"{ours.names.prefix}other."}
    name = f"{env['TINYMLAAS_QUEUE_PREFIX']}compile.requests"
    with Client(ours.environment) as client:
        client.channel.queue_declare(name, auto_delete=True)
        done = run("tinymlaas", "farm", "declare", env=env)
        client.channel.queue_delete(name)
        for kind in ("requests", "results", "workers", "kills", "dead"):
            client.channel.exchange_delete(f"{env['TINYMLAAS_QUEUE_PREFIX']}tinymlaas.{kind}")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert name in line
    assert "delete that when it is empty" in line


def test_a_dry_run_needs_no_broker() -> None:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TINYMLAAS_QUEUE_PREFIX": "p."}
    shown = run("tinymlaas", "farm", "declare", "--dry-run", "--pool", "tvm", env=env)
    assert shown.returncode == 0, shown.stderr
    assert "queue p.pool.tvm: " in shown.stdout
    asked = ("farm", "declare", "--dry-run", "--json", "--pool", "tvm")
    told = json.loads(run("tinymlaas", *asked, env=env).stdout)
    assert told["declared"] is False
    queues = {queue["name"]: queue["arguments"] for queue in told["queues"]}
    assert {"p.compile.requests", "p.pool.tvm", "p.pool.prepare"} <= set(queues)
    assert queues["p.pool.tvm"]["x-queue-type"] == "quorum"
