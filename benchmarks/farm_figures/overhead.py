"""What the farm adds to a job whose module is stored already: submit to result."""

from __future__ import annotations

import secrets
import statistics
import time
from typing import Any

from benchmarks.farm_figures.figure import Figure
from benchmarks.farm_figures.load import Client, Sent, connected, cpu_seconds, p50_ms
from broker.topology import task_arguments
from storage import keys
from tests.services import running
from tests.services.farm import RunningFarm
from tests.services.stub_compiler import Stub
from tinymlaas.contract.messages import CompileRequested

_MODULES = 20  # different ones, each asked for again and again
_PACE = 200.0  # jobs a second
_JOBS = 3000
_BARE = 200


def overhead(farm: RunningFarm, stub: Stub) -> list[Figure]:
    """Return the figures, with bare calls of the same run beside them."""
    trip, get = bare_round_trip_ms(farm), bare_get_ms(farm)
    found = hits(farm, stub, _JOBS)
    bare = f"bare pika round trip {trip:.1f} ms, bare S3 GET by boto3 {get:.1f} ms"
    ratio = found["p50_ms"] / (trip + get)
    cost = {name[7:]: ms for name, ms in found.items() if name.startswith("cpu_ms_")}
    spent = ", ".join(f"{name} {ms:.2f}" for name, ms in cost.items())
    late = f"95 % within {found['paced_p95_ms']:.1f} ms"
    total = f"processor ms a job: {spent}; {sum(cost.values()):.2f} in all"
    return [
        Figure(
            "overhead", "cached job, submit to result, p50", found["p50_ms"], "ms", 15, None, bare
        ),
        Figure("overhead", "times the two bare calls", ratio, "x"),
        Figure("overhead", f"p50 at {_PACE:g} jobs/s", found["paced_p50_ms"], "ms", beside=late),
        Figure(
            "overhead", "cached jobs a second", found["jobs_per_second"], "/s", None, 300, total
        ),
    ]


def hits(farm: RunningFarm, stub: Stub, jobs: int) -> dict[str, float]:
    """Return latency one by one, latency at `_PACE`, and the most jobs a second."""
    with connected(farm.amqp_url, farm.names) as client:
        orders = [stub.order("a", f"hit{number}") for number in range(_MODULES)]
        for order in orders:
            client.submit(order)
        client.await_ended(_MODULES)
        _check(list(client.jobs.values()))
        bodies = _Bodies(client, orders)
        _one_by_one(client, bodies, 2 * _MODULES)  # whatever is paid once, is paid
        alone = _one_by_one(client, bodies, jobs // 10)
        paced = _paced(client, bodies, jobs // 2)
        before = _cpu(farm)
        rate = _flat_out(client, bodies, jobs)
        cost = {name: (after - before[name]) / jobs for name, after in _cpu(farm).items()}
    found = {
        "p50_ms": statistics.median(each.seconds for each in alone) * 1000,
        "paced_p50_ms": statistics.median(each.seconds for each in paced) * 1000,
        "paced_p95_ms": statistics.quantiles([e.seconds for e in paced], n=20)[-1] * 1000,
        "jobs_per_second": rate,
    }
    return found | {f"cpu_ms_{name}": seconds * 1000 for name, seconds in cost.items()}


class _Bodies:
    """Encoded requests, made before the clock runs."""

    def __init__(self, client: Client, orders: list[Any]) -> None:
        self._client = client
        self._orders = orders

    def make(self, count: int) -> list[tuple[str, bytes, str]]:
        made = []
        for number in range(count):
            order = self._orders[number % len(self._orders)]
            name = secrets.token_hex(8)
            request = CompileRequested(id=name, source="b", data=order)
            made.append((name, request.encoded(), order.tenant))
        return made


def _one_by_one(client: Client, bodies: _Bodies, count: int) -> list[Sent]:
    ended = len(client.order_of_ends)
    sent = []
    for number, each in enumerate(bodies.make(count), 1):
        sent.append(client.publish(*each))
        client.await_ended(ended + number)
    return _check(sent)


def _paced(client: Client, bodies: _Bodies, count: int) -> list[Sent]:
    ended, made = len(client.order_of_ends), bodies.make(count)
    began, sent = time.perf_counter(), []
    for number, each in enumerate(made):
        time.sleep(max(0.0, began + number / _PACE - time.perf_counter()))
        sent.append(client.publish(*each))
    client.await_ended(ended + count)
    return _check(sent)


def _flat_out(client: Client, bodies: _Bodies, count: int) -> float:
    ended, made = len(client.order_of_ends), bodies.make(count)
    began = time.perf_counter()
    sent = [client.publish(*each) for each in made]
    client.await_ended(ended + count)
    _check(sent)
    return count / (time.perf_counter() - began)


def _check(sent: list[Sent]) -> list[Sent]:
    states = {each.state for each in sent}
    if states != {"done"}:
        raise AssertionError(f"jobs ended {', '.join(sorted(states))}")
    return sent


def _cpu(farm: RunningFarm) -> dict[str, float]:
    found = {"client": time.process_time()}
    for name, pid in (
        ("scheduler", farm.schedulers[0].pid),
        ("rabbitmq", running.rabbitmq().pid if not running.AMQP_URL else None),
        ("s3", running.seaweedfs().pid if not running.S3_ENDPOINT else None),
    ):
        if pid is not None:
            found[name] = cpu_seconds(pid)
    return found


def bare_round_trip_ms(farm: RunningFarm) -> float:
    """Return what publishing to a quorum queue, with confirm, and getting it back costs in pika."""
    import pika

    name = f"{farm.names.prefix}bare"
    connection = pika.BlockingConnection(pika.URLParameters(farm.amqp_url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(name, durable=True, arguments=dict(task_arguments(f"{name}.dead")))
    got: list[int] = []

    def taken(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        channel.basic_ack(method.delivery_tag)
        got.append(1)

    channel.basic_consume(name, taken)
    properties = pika.BasicProperties(delivery_mode=2)

    def there_and_back() -> None:
        got.clear()
        channel.basic_publish("", name, b"x" * 1000, properties)
        while not got:
            connection.process_data_events(1)

    try:
        there_and_back()
        return p50_ms(there_and_back, _BARE)
    finally:
        channel.queue_delete(name)
        connection.close()


def bare_get_ms(farm: RunningFarm) -> float:
    """Return what boto3 takes for one small object."""
    key = keys.blob_of(b"x" * 2000)
    farm.store.put(key, b"x" * 2000)

    def get() -> None:
        farm.store.client.get_object(Bucket=farm.store.bucket, Key=key.path)["Body"].read()

    return p50_ms(get, _BARE)
