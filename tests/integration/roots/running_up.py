"""`tinymlaas farm up` as a process, and a client that speaks plain AMQP."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika

from tests.unit.scaffold.project import ROOT
from tinymlaas.contract.messages import (
    CancelRequested,
    CompileOrder,
    CompileRequested,
    JobName,
)

SECONDS = 120.0


@dataclass
class Up:
    """A farm that runs, or has ended."""

    process: subprocess.Popen[str]
    state: Path
    output: Path

    @property
    def env(self) -> dict[str, str]:
        """What its env file exports."""
        lines = (self.state / "env").read_text().splitlines()
        words = [shlex.split(line) for line in lines]
        assert all(word[0] == "export" and len(word) == 2 for word in words)
        return dict(word[1].split("=", 1) for word in words)

    def said(self) -> str:
        """What it has said so far."""
        return self.output.read_text()

    def await_said(self, words: str) -> None:
        """Wait until it has said `words`."""
        self.until(lambda: words in self.said())

    def until(self, holds: Any) -> None:
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def pids(self) -> dict[str, int]:
        """Process ids by name, the latest that it has told."""
        lines = [line.split(" pid ") for line in self.said().splitlines() if " pid " in line]
        return {name.strip(): int(rest.split(",")[0]) for name, rest in lines}

    def drain(self) -> int:
        """SIGTERM; return the status it ends with."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@contextlib.contextmanager
def farm_up(
    state: Path, *arguments: str, variables: Mapping[str, str], ready: bool = True
) -> Iterator[Up]:
    """Run ``farm up --state state``; wait until it is ready. Killed at the end if it still runs."""
    state.parent.mkdir(exist_ok=True)
    output = state.parent / f"{state.name}.output"
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with output.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "tinymlaas", "farm", "up", "--state", str(state), *arguments],
            cwd=ROOT,
            env={**kept, **variables},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
        )
    up = Up(process, state, output)
    try:
        if ready:
            up.until(lambda: "ready:" in up.said() or process.poll() is not None)
            assert process.poll() is None, up.said()
        yield up
    finally:
        if process.poll() is None:
            up.drain()


def page(url: str) -> tuple[int, str]:
    """Status and text of a page."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Client:
    """Publishes requests and hears events; for one thread."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(env["TINYMLAAS_AMQP_URL"]))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self._prefix = env["TINYMLAAS_QUEUE_PREFIX"]
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        tenant = env.get("TINYMLAAS_TENANT")
        own = f"{tenant}.#" if tenant else "#"  # a tenant's user may bind to nothing else
        self.channel.queue_bind(self.queue, f"{self._prefix}tinymlaas.results", own)

    def submit(self, job: str, order: CompileOrder) -> None:
        body = CompileRequested(id=job, source="test", data=order).encoded()
        lasting = pika.BasicProperties(delivery_mode=2)
        exchange = f"{self._prefix}tinymlaas.requests"
        self.channel.basic_publish(
            exchange, f"compile.{order.tenant}", body, lasting, mandatory=True
        )

    def cancel(self, job: str, tenant: str) -> None:
        name = JobName(tenant=tenant, job_id=job)
        body = CancelRequested(id="c", source="test", data=name).encoded()
        exchange = f"{self._prefix}tinymlaas.requests"
        self.channel.basic_publish(exchange, f"cancel.{tenant}", body, mandatory=True)

    def events(self) -> Iterator[dict[str, Any]]:
        """The data of events as they come."""
        for _, _, body in self.channel.consume(
            self.queue, auto_ack=True, inactivity_timeout=SECONDS
        ):
            assert body is not None, "no event came"
            yield json.loads(body)["data"]

    def await_states(self, wanted: Mapping[str, str]) -> None:
        """Wait until each job has been in the state wanted of it."""
        left = dict(wanted)
        for event in self.events():
            if left.get(event["job_id"]) == event["state"]:
                del left[event["job_id"]]
            if not left:
                break
        self.channel.cancel()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def alive(pids: Sequence[int]) -> list[int]:
    """Those of `pids` that still run."""
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and _state(pid) != "Z"]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def family(pid: int) -> list[int]:
    """All processes that descend from `pid`, and those in the folders that it guards."""
    found, new = {pid}, {pid}
    while new:
        new = {child for parent in new for child in _children(parent)} - found
        found |= new
    return sorted(found - {pid})


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except OSError:
        return []
