"""The topology as data: what must hold of every queue."""

from __future__ import annotations

from broker.topology import Names, topology

WHOLE = topology(["tvm", "cmsis-nn"])


def test_work_is_in_quorum_queues_with_limits_and_dead_letters() -> None:
    for queue in WHOLE.queues:
        assert queue.arguments["x-queue-type"] == "quorum", "else it is away with one node"
        assert int(queue.arguments["x-delivery-limit"]) >= 2
        if queue.name == Names().seen:  # of heartbeats the oldest are dropped
            assert queue.arguments["x-overflow"] == "drop-head"
            continue
        assert queue.arguments["x-overflow"] == "reject-publish"
        assert "x-max-priority" not in queue.arguments
        kept = queue.name == Names().dead_letters or queue.name.endswith(".XQ")
        strategy = queue.arguments.get("x-dead-letter-strategy")
        assert strategy == (None if kept else "at-least-once")


def test_dead_letters_have_somewhere_to_go() -> None:
    exchanges = {exchange.name for exchange in WHOLE.exchanges}
    queues = {queue.name for queue in WHOLE.queues}
    for queue in WHOLE.queues:
        exchange = queue.arguments.get("x-dead-letter-exchange")
        if exchange == "":
            assert queue.arguments["x-dead-letter-routing-key"] in queues
        elif exchange is not None:
            assert exchange in exchanges
            assert any(binding.exchange == exchange for binding in WHOLE.bindings)
    for binding in WHOLE.bindings:
        assert binding.exchange in exchanges
        assert binding.queue in queues


def test_requests_have_one_active_consumer() -> None:
    single = {q.name for q in WHOLE.queues if q.arguments.get("x-single-active-consumer")}
    assert single == {"compile.requests", "compile.control", "scheduler.outcomes"}


def test_names_are_unique_and_all_prefixed() -> None:
    ours = topology(["tvm"], Names("mine."))
    named = [e.name for e in ours.exchanges] + [q.name for q in ours.queues]
    assert len(set(named)) == len(named)
    assert all(name.startswith("mine.") for name in named)


def test_it_can_be_shown() -> None:
    lines = list(WHOLE.lines())
    assert "queue pool.tvm: tasks of the pool tvm" in lines
    assert "    x-single-active-consumer = True" in lines
    assert "binding tinymlaas.requests -> compile.requests: compile.*" in lines
