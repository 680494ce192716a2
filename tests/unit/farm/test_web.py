"""The pages of a process."""

from __future__ import annotations

import time
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
    with pytest.raises(UsageError, match=r"cannot listen on 127.0.0.1:99999: .*0-65535"):
        serve(pages, "127.0.0.1", 99999)


def test_who_goes_away_in_the_middle_leaves_no_traceback(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def gone(accept: str) -> tuple[str, bytes]:
        raise BrokenPipeError("gone")

    caplog.set_level("INFO")
    url = serve(Pages(gone, lambda: Health(True, ""), lambda: Health(True, "")), "127.0.0.1", 0)
    with pytest.raises(OSError, match="without response"):
        urllib.request.urlopen(f"{url}/metrics", timeout=10)
    for _ in range(500):
        if "a page was not sent" in caplog.text:
            break
        time.sleep(0.01)
    assert "a page was not sent" in caplog.text
    assert capfd.readouterr().err == ""
