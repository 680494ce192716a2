"""What the tests' jobs do inside."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tinymlaas.contract.errors import UnsupportedModel

_MIB = 1 << 20
counted = [0]
_kept: list[mmap.mmap] = []


def facts() -> dict[str, str]:
    """Return what a job can tell of where it is."""
    status = Path("/proc/self/status").read_text().splitlines()
    return {
        "here": os.getcwd(),
        "files": " ".join(sorted(os.listdir("."))),
        "environment": " ".join(sorted(os.environ)),
        "others": " ".join(_others()),
        "capabilities": " ".join(x.split()[1] for x in status if x.startswith("Cap")),
        "descriptors": " ".join(
            name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")
        ),
        "counted": str(counted[0]),
        "network": " ".join(line.split(":")[0].strip() for line in _interfaces()),
        "umask": str(os.umask(0)),
    }


def _others() -> list[str]:
    """Processes that are seen besides this one, and its supervisor where that is the first."""
    ours = {os.readlink("/proc/self"), "1"}
    return [name for name in os.listdir("/proc") if name.isdecimal() and name not in ours]


def _interfaces() -> list[str]:
    return [x for x in Path("/proc/net/dev").read_text().splitlines() if ":" in x]


def corrupt() -> None:
    """Leave this process, its files and its environment as bad as can be."""
    counted[0] = 7
    here = os.getcwd()
    os.environ["PYTHONPATH"] = f"{here}/evil"
    os.environ["LD_PRELOAD"] = f"{here}/evil.so"
    sys.path.insert(0, here)
    sys.modules["json"] = None  # type: ignore[assignment]
    sys.modules["tests.integration.sandbox.jobs"].facts = None
    os.umask(0o777)
    for place in (f"{here}/json.py", "/dev/shm/left", "/job/left"):
        Path(place).write_text("raise SystemExit(9)")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def nap(seconds: float) -> None:
    time.sleep(seconds)


def hunger() -> None:
    kept = []
    while True:
        kept.append(b"x" * _MIB)


def share_hunger() -> None:
    """Take memory that no limit of one process counts."""
    for _ in range(8):
        if os.fork() == 0:
            kept = [b"x" * (8 * _MIB) for _ in range(6)]
            time.sleep(60)
            del kept
    time.sleep(60)


def flood() -> bytes:
    return bytes(20 * _MIB)


def chatter() -> None:
    for _ in range(200):
        sys.stdout.write("y" * 65536 + "\n")


def refuse() -> None:
    raise UnsupportedModel("no such operator")


def fill() -> None:
    for number in range(1000):
        Path(f"f{number}").write_bytes(bytes(8 * _MIB))


def wrong() -> str:
    return "text"


def daemon() -> None:
    subprocess.Popen(["sleep", "618"], start_new_session=True)


def hidden_hunger() -> str:
    """Take memory that the process's own size does not show: shared, and given back."""
    for _ in range(40):
        try:
            memory = mmap.mmap(-1, 16 * _MIB, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        except OSError as error:
            return str(error.errno)
        for page in range(0, 16 * _MIB, 4096):
            memory[page] = 1
        memory.madvise(mmap.MADV_DONTNEED)
        _kept.append(memory)
    return "as much as it likes"


def interrupt_supervisor() -> None:
    for number in range(1, 32):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            os.kill(1, number)
    time.sleep(0.3)


def lie_about_size() -> None:
    """Call this process something that reads as a line of its status, and take memory."""
    libc = ctypes.CDLL(None)
    libc.prctl(15, b"\x0bRssAnon: -9999", 0, 0, 0)
    kept = []
    while True:
        kept.append(b"x" * _MIB)
        time.sleep(0.0005)


def many_threads() -> None:
    for _ in range(5000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def leave_noise() -> None:
    """End while children still write as fast as they can."""
    for _ in range(4):
        subprocess.Popen([sys.executable, "-S", "-c", "while True: print('y' * 9999)"])


def headless_hunger() -> None:
    """Take memory in processes whose first thread has ended, which then show no size."""
    libc = ctypes.CDLL(None)
    for _ in range(8):
        if os.fork() == 0:
            threading.Thread(target=_hold, args=(48,)).start()
            libc.syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)  # exit(2): this thread's
    time.sleep(60)


def _hold(mib: int) -> None:
    kept = b"x" * (mib * _MIB)
    time.sleep(60)
    del kept


def table_hunger() -> None:
    """Take memory for page tables alone: of a mapping that is never written to."""
    size, step, no_reserve, no_huge = 256 << 30, 2 * _MIB, 0x4000, 15
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve
    memory = mmap.mmap(-1, size, flags=flags, prot=mmap.PROT_READ)
    memory.madvise(no_huge)
    for place in range(0, size, step):
        memory[place]
    time.sleep(60)
