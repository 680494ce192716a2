"""What waiting jobs take in the scheduler's process."""

from __future__ import annotations

import time

from benchmarks.farm_figures.figure import Figure
from benchmarks.farm_figures.load import Client, connected, rss_bytes
from broker.connecting import connect
from storage import keys
from tests.services.farm import RunningFarm
from tests.services.stub_compiler import Stub, model
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.messages import CompileRequested, Payload, reference

JOBS = 50_000  # as many as a scheduler takes from the broker at a time; two of them run
_TENANTS = ("red", "green", "blue", "grey")
_AT_ONCE = 2_000
_MOST_BYTES = 512 << 20
_SETTLED_SECONDS = 3.0
_PATIENCE_SECONDS = 120.0
_MODEL = model()


def waiting(farm: RunningFarm, stub: Stub) -> list[Figure]:
    """Fill the scheduler with jobs that wait for two that take ten minutes."""
    pid = farm.schedulers[0].pid
    assert pid is not None
    with connected(farm.amqp_url, farm.names, _TENANTS) as client:
        for number in range(2):
            client.submit(stub.order("red", f"endless{number}", milliseconds="600000"))
        _await_begun(stub, 2)
        before, began = rss_bytes(pid), time.monotonic()
        for number in range(JOBS - 2):
            client.publish(*_request(farm, stub, number))
            _await_confirmed(client)
        after = _settled(farm, pid)
    seconds = time.monotonic() - began
    each = (after - before) / JOBS
    beside = f"{before / 2**20:.0f} MiB before; taken in within {seconds:.0f} s"
    return [
        Figure(
            "memory",
            f"scheduler with {JOBS:,} unfinished jobs (RSS)",
            after / 2**20,
            "MiB",
            most=_MOST_BYTES / 2**20,
            beside=beside,
        ),
        Figure("memory", "for each of them", each / 1000, "kB"),
    ]


def _await_begun(stub: Stub, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (begun := len(stub.begun())) < count:
        time.sleep(0.1)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{begun} of {count} compiles were begun")


def _await_confirmed(client: Client) -> None:
    """Wait until RabbitMQ has all but the last few requests, so that they do not pile up here."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (left := len(client.jobs) - client.confirmed) > _AT_ONCE:
        time.sleep(0.01)
        if time.monotonic() > deadline:
            raise TimeoutError(f"RabbitMQ has not confirmed {left:,} of the requests")


def _request(farm: RunningFarm, stub: Stub, number: int) -> tuple[str, bytes, str]:
    """Return an order of its own name, so that it can be merged with no other."""
    tenant = _TENANTS[number % len(_TENANTS)]
    if number < len(_TENANTS):
        farm.store.put(keys.tenant_blob(tenant, sha256(_MODEL)), _MODEL)
    digest = sha256(_MODEL)
    payload = Payload(digest=digest, reference=reference(tenant, digest), filename="relu.onnx")
    order = stub.order(tenant, f"w{number}", model=payload)
    request = CompileRequested(id=f"w{number}", source="b", data=order)
    return request.id, request.encoded(), tenant


def _settled(farm: RunningFarm, pid: int) -> int:
    """Return the memory once the queue is empty, which means that the scheduler has it all."""
    with connect(farm.amqp_url, "benchmark") as connection:
        channel, name = connection.channel(), farm.names.compile_requests
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while left := channel.queue_declare(name, passive=True).method.message_count:
            connection.sleep(0.2)
            if time.monotonic() > deadline:
                raise TimeoutError(f"the scheduler has not taken {left:,} of the requests")
    time.sleep(_SETTLED_SECONDS)
    return rss_bytes(pid)
