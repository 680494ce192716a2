"""The first process of a container buries others' dead, passes signals on and ends as its child."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.unit.scaffold.project import ROOT

# Orphans come to it as to a first process, of which it asks only whether it is called 1.
CODE = """
import ctypes, os, signal, sys, time
from tinymlaas.farm.first import leave_the_first_process
assert leave_the_first_process() is False
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
real, os.getpid = os.getpid, lambda: 1
assert leave_the_first_process() is True
os.getpid = real
first = os.getppid()
for _ in range(20):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
deadline = time.monotonic() + 60
while len(open(f"/proc/{first}/task/{first}/children").read().split()) > 1:
    assert time.monotonic() < deadline, "the dead are left"
    time.sleep(0.01)
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
print("buried", flush=True)
if sys.argv[1] == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(600)
"""


@pytest.mark.parametrize(("how", "status"), [("ends", 7), ("dies", 128 + signal.SIGKILL)])
def test_orphans_are_buried_and_the_end_is_the_childs(how: str, status: int) -> None:
    command = [sys.executable, "-c", CODE, how]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "buried\n"
        if how == "ends":
            first.send_signal(signal.SIGTERM)
        assert first.wait(60) == status
