"""Signals: the first asks, the second hurries, the third kills."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.unit.scaffold.project import ROOT

CODE = """
import sys, threading, time
from tinymlaas.farm.process import Stop
hurried = threading.Event()
stop = Stop(hurried.set if sys.argv[1] == "hurry" else None)
print("up", flush=True)
while not stop.wait(60): pass
print("asked", flush=True)
hurried.wait(60)
print("hurried", flush=True)
time.sleep(60)
"""


def started(kind: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CODE, kind]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_first_second_and_third_signal() -> None:
    with started("hurry") as process:
        process.send_signal(signal.SIGTERM)
        assert said(process) == "asked\n"
        process.send_signal(signal.SIGINT)
        assert said(process) == "hurried\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM


def test_where_nothing_can_be_hurried_the_second_kills() -> None:
    with started("plain") as process:
        process.send_signal(signal.SIGTERM)
        assert said(process) == "asked\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
