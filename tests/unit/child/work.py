"""Functions that are run in a child process."""

import os
import signal
import subprocess
import sys
import tempfile
import time

from tinymlaas.contract.errors import UnsupportedModel


def add(a: int, b: int) -> int:
    print("chatter on stdout")
    print("chatter on stderr", file=sys.stderr)
    os.write(1, b"chatter of native code\n")
    return a + b


def refuse() -> None:
    raise UnsupportedModel("first reason", "second reason")


def stumble() -> None:
    raise KeyError("no such thing")


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave() -> None:
    os._exit(3)


def hang() -> None:
    started = subprocess.Popen(["sleep", "1000"])
    print(started.pid, flush=True)
    time.sleep(1000)


def temporary_folder() -> str:
    return tempfile.mkdtemp()


def unpicklable() -> object:
    return lambda: None
