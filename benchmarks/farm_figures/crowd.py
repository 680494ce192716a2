"""Those who watch: each of these processes is many of them, and does as little as it can.

    python -m benchmarks.farm_figures.crowd watch COUNT JOB…     streams of `Client.watch`
    python -m benchmarks.farm_figures.crowd look COUNT URL…      people with the page open, and
                                                                 ten a second who open one

It runs until it is killed.
"""

from __future__ import annotations

import heapq
import http.client
import itertools
import os
import sys
import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from tinymlaas import Client
from tinymlaas.contract.errors import TinymlaasError

TOKEN = "the-token-of-the-benchmark"
_OPENED_A_SECOND = 10.0
_STACK_BYTES = 256 << 10


def watch(count: int, jobs: Sequence[str]) -> None:
    """Follow `jobs` with `count` streams over one client's connections."""
    threading.stack_size(_STACK_BYTES)
    ready, lock = itertools.count(1), threading.Lock()

    def follow(job: str) -> None:
        told = False
        try:
            for _ in client.watch(job):
                if not told:
                    told = True
                    with lock:
                        if next(ready) == count:
                            print("ready", flush=True)
        except TinymlaasError as error:
            print(error, flush=True)
            os._exit(1)

    with Client(tenant="w") as client:
        threads = [
            threading.Thread(target=follow, args=(jobs[number % len(jobs)],), daemon=True)
            for number in range(count)
        ]
        for each in threads:
            each.start()
            time.sleep(0.03)  # as people come: not all within a moment
        for each in threads:
            each.join()


def look(count: int, urls: Sequence[str]) -> None:
    """Have `count` pages open that keep themselves up to date as the page says, and open ten pages
    a second besides; what is opened ends within a second in the log of statuses.
    """
    opened = itertools.cycle(urls)
    kept = itertools.cycle(urls)
    begun = time.monotonic()
    due: list[tuple[float, int, str, str]] = [
        (begun + 2.0 * number / count, number, next(kept), "") for number in range(count)
    ]
    due.append((begun, -1, "", ""))
    heapq.heapify(due)
    print("ready", flush=True)
    while True:
        at, number, url, tag = heapq.heappop(due)
        time.sleep(max(0.0, at - time.monotonic()))
        if number < 0:
            get(next(opened), "")
            heapq.heappush(due, (at + 1 / _OPENED_A_SECOND, number, "", ""))
        else:
            poll, tag = get(url, tag)
            heapq.heappush(due, (time.monotonic() + poll, number, url, tag))


def get(url: str, tag: str) -> tuple[float, str]:
    """Ask for a page, or whether it is no more `tag`; return when to ask again, and its tag."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}
    connection.request("GET", parts.path, headers=headers | ({"If-None-Match": tag} if tag else {}))
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status not in {200, 304}:
        raise SystemExit(f"{url} is answered with {answer.status}")
    return float(answer.headers.get("X-Poll") or 30) or 30.0, answer.headers["ETag"] or ""


if __name__ == "__main__":
    verb, number, *rest = sys.argv[1:]
    (watch if verb == "watch" else look)(int(number), rest)
