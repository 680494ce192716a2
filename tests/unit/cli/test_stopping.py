import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.scaffold.project import ROOT

# The first signal is answered slowly, so that a second one comes in between.
CODE = """
import signal, sys, time
from tinymlaas import stopping
SETUP
with stopping.heeded():
    try:
        print("ready", flush=True)
        time.sleep(1000)
    except BaseException as stop:
        print(type(stop).__name__, flush=True)
        PAUSE
        raise
"""


def start(setup: str = "", pause: str = "") -> subprocess.Popen[str]:
    code = CODE.replace("SETUP", setup).replace("PAUSE", pause)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_we_unwind_and_die_of_the_signal(number: signal.Signals) -> None:
    process = start()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("Stopped\n", f"stopped by {number.name}\n")
    assert process.returncode == -number


def test_the_second_signal_is_not_waited_for() -> None:
    process = start(pause="time.sleep(1000)")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "Stopped\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == -signal.SIGINT


def test_what_was_ignored_stays_ignored() -> None:
    """As nohup does it."""
    process = start(setup="signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[1] == "stopped by SIGTERM\n"
    assert process.returncode == -signal.SIGTERM


def test_it_is_heeded_while_the_command_line_still_loads(tmp_path: Path) -> None:
    slow = 'import time\nprint("ready", flush=True)\ntime.sleep(1000)\n'
    (tmp_path / "typer.py").write_text(slow)
    process = subprocess.Popen(
        [sys.executable, "-m", "tinymlaas", "boards"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "stopped by SIGINT\n")
    assert process.returncode == -signal.SIGINT
