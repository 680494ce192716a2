"""However a process ends, what it has started ends too and its scratch folders are gone."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workers import guardian

ROOT = Path(__file__).parents[3]

# Starts a session that writes on and on into a scratch folder, and says so.
WORK = """
import os, pathlib, signal, subprocess, sys, time
from workers import guardian
with guardian.scratch("test", pathlib.Path(sys.argv[1])) as folder:
    script = "sleep 1000 & while :; do date > $(mktemp -p .); done"
    child = subprocess.Popen(["sh", "-c", script], cwd=folder, start_new_session=True)
    with guardian.group(child.pid):
        print(child.pid, flush=True)
        time.sleep(1000)
"""


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.05)
    return False


def group_is_gone(leader: int) -> bool:
    """No process but zombies, which wait for whoever is init here, is left in the group."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            return False
    return True


def start(tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORK, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    leader = int(worker.stdout.readline())
    assert not group_is_gone(leader)
    assert eventually(lambda: len(list(tmp_path.glob("*/*"))) > 3)
    return worker, leader


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_nothing_outlives_us(tmp_path: Path, number: signal.Signals) -> None:
    worker, leader = start(tmp_path)
    worker.send_signal(number)
    assert worker.wait() == -number
    assert eventually(lambda: group_is_gone(leader))
    assert eventually(lambda: not list(tmp_path.iterdir()))


def test_a_guardian_that_was_killed_is_replaced(tmp_path: Path) -> None:
    with guardian.scratch("first", tmp_path):
        first = guardian._guardian._process
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        with guardian.scratch("second", tmp_path):
            second = guardian._guardian._process
            assert second is not None
            assert second.pid != first.pid
            assert second.poll() is None


def test_a_scratch_folder_is_private_and_goes_with_its_context(tmp_path: Path) -> None:
    with guardian.scratch("test", tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.name.startswith(".tinymlaas-test-")
        (folder / "below").mkdir()
    assert not folder.exists()
    with pytest.raises(KeyError), guardian.scratch("test") as elsewhere:
        raise KeyError
    assert not elsewhere.exists()


def test_a_group_released_is_left_alone(tmp_path: Path) -> None:
    """What has ended well must not be killed later, when its number may be another's."""
    code = """
import subprocess
from workers import guardian
null = subprocess.DEVNULL
child = subprocess.Popen(["sleep", "1000"], stdout=null, stderr=null, start_new_session=True)
with guardian.group(child.pid):
    pass
print(child.pid)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    leader = int(done.stdout)
    assert not group_is_gone(leader)
    os.killpg(leader, signal.SIGKILL)


def test_a_scope_ends_its_own_groups_only() -> None:
    """A race that is over must not end what others of its process run: servers, another race."""
    with contextlib.ExitStack() as stack:
        begun = [
            stack.enter_context(
                subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, process_group=0)
            )
            for _ in range(3)
        ]
        for child in begun:
            stack.callback(guardian.kill_group, child.pid)
        outside, ended, inside = begun
        scope = guardian.Scope()
        stack.enter_context(guardian.group(outside.pid))
        with scope.entered(), guardian.group(ended.pid):
            pass
        with scope.entered(), ThreadPoolExecutor(1) as thread:
            elsewhere = thread.submit(lambda: stack.enter_context(guardian.group(outside.pid)))
            elsewhere.result()  # a thread that has not entered it is none of its
            stack.enter_context(guardian.group(inside.pid))
        scope.kill_all()
        assert inside.wait(20) == -signal.SIGKILL
        assert [outside.poll(), ended.poll()] == [None, None]
