"""The pages of a process."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from tinymlaas.contract.errors import UsageError
from tinymlaas.farm.web import Health, Pages, serve


def get(url: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def test_pages() -> None:
    ready = [Health(False, "no broker")]
    pages = Pages(
        metrics=lambda accept: ("text/made-up", accept.encode()),
        alive=lambda: Health(True, "well"),
        ready=lambda: ready[0],
    )
    url = serve(pages, "127.0.0.1", 0)
    assert get(f"{url}/healthz") == (200, "text/plain; charset=utf-8", "well\n")
    assert get(f"{url}/readyz") == (503, "text/plain; charset=utf-8", "no broker\n")
    ready[0] = Health(True, "idle")
    assert get(f"{url}/readyz?verbose")[::2] == (200, "idle\n")
    assert get(f"{url}/metrics")[:2] == (200, "text/made-up")
    assert get(f"{url}/etc/passwd")[0] == 404
    with pytest.raises(UsageError, match="cannot listen"):
        serve(pages, "127.0.0.1", int(url.rpartition(":")[2]))
