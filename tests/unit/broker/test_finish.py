"""A worker is stopped when its task has ended, not when dramatiq has lost its patience."""

from __future__ import annotations

import threading

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.worker import Worker

from broker.dramatiq_broker import finish


def test_a_long_task_is_waited_for_and_those_who_wait_may_speak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Worker.stop, "__defaults__", (1,))  # ms; ten minutes, but in a test
    begun, heard, ended = threading.Event(), threading.Event(), []
    broker = StubBroker(middleware=[])

    def run() -> None:
        begun.set()
        assert heard.wait(60)
        ended.append("task")

    actor = dramatiq.actor(run, broker=broker)
    worker = Worker(broker, worker_threads=1, worker_timeout=20)
    worker.start()
    actor.send()
    assert begun.wait(60)
    spoken: list[int] = []

    def meanwhile() -> None:
        spoken.append(1)
        if len(spoken) == 3:
            heard.set()

    finish(worker, meanwhile, 0.02)
    assert ended == ["task"]
    assert not worker.workers[0].is_alive()
    assert broker.queues["default"].unfinished_tasks == 0, "acknowledged"
