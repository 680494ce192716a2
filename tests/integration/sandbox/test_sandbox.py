"""Real jobs in a real sandbox: what they see, how they end, and that none leaves anything."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.scaffold.project import ROOT
from tinymlaas.contract.errors import CompilerCrashed, Failure, UnsupportedModel
from workers import sandbox
from workers.sandbox import Step, client
from workers.sandbox.limits import DEFAULTS

_MIB = 1 << 20
SMALL = replace(
    DEFAULTS[Step.LINK], memory=256 * _MIB, files=32 * _MIB, answer=16 * _MIB, seconds=20
)


@pytest.fixture(params=[False, True], ids=["sandbox", "bare"])
def unsafe(request: pytest.FixtureRequest) -> Iterator[bool]:
    before = sandbox.settings()
    sandbox.configure(sandbox.Settings({**DEFAULTS, Step.LINK: SMALL}, request.param))
    yield request.param
    sandbox.configure(before)


@pytest.fixture
def small() -> Iterator[None]:
    before = sandbox.settings()
    sandbox.configure(sandbox.Settings({**DEFAULTS, Step.LINK: SMALL}))
    yield
    sandbox.configure(before)


def job(name: str, *args: object, returns: object = None, **more: object):
    where = f"tests.integration.sandbox.jobs:{name}"
    facts = {
        "step": Step.LINK,
        "what": "the job",
        "log": Path(os.devnull),
        "readable": (ROOT / "tests",),
    }
    return sandbox.call(where, *args, returns=returns, **(facts | more))


def facts() -> dict[str, str]:
    return job("facts", returns=dict[str, str])


def test_a_job_sees_nothing_but_its_own(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    found = facts()
    assert found["here"] == "/job/work"
    assert found["files"] == ""
    assert set(found["environment"].split()) <= {
        "PATH", "LANG", "HOME", "TMPDIR", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE"
    }  # fmt: skip
    assert found["others"] == ""
    assert found["capabilities"] == " ".join(["0" * 16] * 5)
    assert found["descriptors"] == "0 1 2 3"
    assert found["network"] == "lo"


def test_a_job_that_corrupts_all_it_can_leaves_the_next_as_it_was(small: None) -> None:
    before = facts()
    for _ in range(2):
        with pytest.raises(CompilerCrashed, match="was killed by SIGSEGV"):
            job("corrupt")
        assert facts() == before


def test_errors_and_crashes_are_told_as_they_are(unsafe: bool, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"^no such operator$"):
        job("refuse")
    with pytest.raises(CompilerCrashed, match="AttributeError"):
        job("is_not_there")
    with pytest.raises(CompilerCrashed, match="a str in place of int"):
        job("wrong", returns=int)
    with pytest.raises(CompilerCrashed, match=r"^the job took longer than 1 s and was stopped$"):
        job("nap", 60.0, seconds=1)
    with pytest.raises(CompilerCrashed, match="answered with more than 16 MiB"):
        job("flood", returns=bytes)
    log = tmp_path / "log"
    job("chatter", log=log)
    assert log.stat().st_size == SMALL.log


def test_memory_has_an_end(small: None) -> None:
    with pytest.raises(CompilerCrashed, match=r"ran out of memory|more than 256 MiB of memory"):
        job("hunger")
    with pytest.raises(CompilerCrashed, match="more than 256 MiB of memory"):
        job("share_hunger")
    with pytest.raises(CompilerCrashed, match="No space left on device"):
        job("fill")


def test_memory_that_no_size_shows_is_not_given(small: None) -> None:
    assert job("hidden_hunger", returns=str) == str(errno.EPERM)
    with pytest.raises(CompilerCrashed, match=r"ran out of memory|more than 256 MiB of memory"):
        job("lie_about_size")


@pytest.mark.parametrize("name", ["headless_hunger", "table_hunger"])
def test_memory_is_counted_wherever_the_kernel_keeps_it(small: None, name: str) -> None:
    with pytest.raises(CompilerCrashed, match="more than 256 MiB of memory"):
        job(name)


def test_threads_are_counted(small: None) -> None:
    with pytest.raises(CompilerCrashed, match=r"more than 1024 threads|can't start new thread"):
        job("many_threads")


def test_no_signal_of_a_job_reaches_its_supervisor(small: None) -> None:
    job("interrupt_supervisor")


def test_noise_that_outlives_a_job_does_not_keep_it(small: None) -> None:
    job("leave_noise", seconds=15)


def sleeping(seconds: int) -> list[str]:
    found = subprocess.run(
        ["pgrep", "-f", f"^sleep {seconds}$"], check=False, capture_output=True, text=True
    )
    return found.stdout.split()


def gone(seconds: int) -> bool:
    deadline = time.monotonic() + 20
    while sleeping(seconds) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not sleeping(seconds)


def test_what_a_job_starts_ends_with_it(small: None) -> None:
    job("daemon")
    assert gone(618)


def test_a_zygote_that_was_killed_is_replaced(small: None) -> None:
    job("nap", 0.0)
    for zygote in list(client._zygotes._started.values()):
        os.killpg(zygote._process.pid, signal.SIGKILL)
        zygote._process.wait()
    job("nap", 0.0)


def test_when_we_are_killed_nothing_stays() -> None:
    tmp_path = Path(tempfile.mkdtemp(prefix="kill-"))  # short, for sockets lie in it
    code = (
        "from tests.integration.sandbox.test_sandbox import job\n"
        "print('begun', flush=True); job('nap', 611.0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 20
    while not (zygotes := _zygotes_below(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert zygotes
    process.kill()
    process.wait()
    process.stdout.close()
    while (_zygotes_below(tmp_path) or any(tmp_path.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _zygotes_below(tmp_path)
    tmp_path.rmdir()


def _zygotes_below(folder: Path) -> list[str]:
    """Return sockets of zygotes below `folder` that somebody listens at."""
    listening = Path("/proc/net/unix").read_text()
    return [line for line in listening.splitlines() if str(folder) in line]


def test_without_a_sandbox_nothing_runs_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusing = tmp_path / "bwrap"
    refusing.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n"
    )
    refusing.chmod(0o755)
    fresh = client.Zygotes()
    monkeypatch.setattr(client, "_zygotes", fresh)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Failure, match="there is no sandbox: bwrap: No permissions"):
        job("nap", 0.0)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Failure, match="apt-get install bubblewrap"):
        job("nap", 0.0, preload=("json",))
