"""A pool's worker process: ``python -m tests.integration.broker.pool_worker URL QUEUE FOLDER``.

Its tasks are words: ``ok``, ``raise``, ``die`` (as a crash does), ``sleep``. What it was given it
writes into FOLDER, a file a delivery. SIGTERM drains it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from broker.dramatiq_broker import QuorumBroker, make_actor, make_worker


def main(url: str, queue: str, folder: Path) -> None:
    def work(body: str, earlier: int) -> None:
        word = body.split(maxsplit=1)[0]
        name = f"{body.replace(' ', '_')}.{earlier}.{time.monotonic_ns()}"
        (folder / name).touch()
        if word == "raise":
            raise ValueError(body)
        if word == "die" and earlier < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "sleep":
            time.sleep(3)
            (folder / f"{name}.done").touch()

    broker = QuorumBroker(url, "test-worker")
    make_actor(broker, queue, work)
    worker = make_worker(broker, queue)
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    worker.start()
    (folder / f"up.{os.getpid()}").touch()
    ending.wait()
    worker.stop()
    broker.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
