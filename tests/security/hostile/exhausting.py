"""Ways to use up the machine. Each gives up at a bound that is harmless, and is an escape then."""

import ctypes
import mmap
import os
import pathlib
import resource
import sys
import threading
import time

from table import Contained, attack, relu, written

MIB = 1 << 20
MOST_BYTES = 3 << 30
MOST_PROCESSES = 600
MOST_FILES = 400_000


@attack
def memory(place):
    held = []
    while len(held) * 16 * MIB < MOST_BYTES:
        held.append(b"m" * (16 * MIB))
    return f"{MOST_BYTES >> 20} MiB"


@attack
def memory_shared(place):
    """Shared pages belong to no process's data segment."""
    held = []
    while len(held) * 16 * MIB < MOST_BYTES:
        held.append(mmap.mmap(-1, 16 * MIB))
        held[-1].write(b"m" * (16 * MIB))
    return f"{MOST_BYTES >> 20} MiB"


@attack
def memory_files(place):
    """Files without a name and without a place, which no file system's size bounds."""
    held = 0
    while held < MOST_BYTES:
        descriptor = os.memfd_create("m")
        for _ in range(4):
            held += os.write(descriptor, b"m" * (16 * MIB))
    return f"{MOST_BYTES >> 20} MiB"


@attack
def memory_of_many(place):
    """Each process takes little, all together do not."""
    pids = []
    for _ in range(MOST_BYTES // (192 * MIB)):
        pid = os.fork()
        if pid == 0:
            try:
                held = b"m" * (192 * MIB)
                time.sleep(5)
                os._exit(0 if held else 1)
            except MemoryError:
                os._exit(1)
        pids.append(pid)
    ends = [os.waitpid(pid, 0)[1] for pid in pids]
    if any(ends):
        raise Contained(f"{sum(map(bool, ends))} of {len(ends)} did not get their share")
    return f"{len(pids)} processes held {MOST_BYTES >> 20} MiB"


@attack
def memory_of_pipes(place):
    """The kernel's own memory, a MiB a pipe."""
    held = 0
    while held < MOST_BYTES:
        _, end = os.pipe2(os.O_NONBLOCK)
        held += os.write(end, b"m" * 65536)
    return f"{MOST_BYTES >> 20} MiB"


@attack
def memory_of_threads(place):
    threading.stack_size(64 * MIB)
    halt = threading.Event()
    try:
        for _ in range(MOST_PROCESSES):
            threading.Thread(target=halt.wait, args=(30,), daemon=True).start()
    except RuntimeError as error:
        raise Contained(str(error)) from None
    return f"{MOST_PROCESSES} threads"


@attack
def fork_many(place):
    for _ in range(MOST_PROCESSES):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
    return f"{MOST_PROCESSES} processes"


@attack
def fork_bomb(place):
    """Every process forks: 2 to the power of ten of them, if nobody minds."""
    first, (reader, writer) = os.getpid(), os.pipe2(os.O_NONBLOCK)
    for _ in range(10):
        try:
            if os.fork() == 0:
                os.write(writer, b".")
        except OSError:
            break
    if os.getpid() != first:
        time.sleep(30)
        os._exit(0)
    time.sleep(1)
    born = len(os.read(reader, 4096))
    if born >= MOST_PROCESSES:
        return f"{born} processes"
    raise Contained(f"{born} processes and no more")


@attack
def disk(place):
    path = place.out / "large"
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(MOST_BYTES // (16 * MIB)):
                if file.write(b"d" * (16 * MIB)) < 16 * MIB:
                    raise Contained("no room for more")
    finally:
        path.unlink()  # else there is no room for what we have to say
    return f"{MOST_BYTES >> 20} MiB"


@attack
def disk_elsewhere(place):
    """Wherever we may write: each place has to have its limit."""
    total = 0
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/dev", "/run", os.getcwd()):
        try:
            with pathlib.Path(folder, "large").open("wb", buffering=0) as file:
                while total < MOST_BYTES:
                    total += file.write(b"d" * (16 * MIB))
        except OSError:
            continue
    if total >= MOST_BYTES:
        return f"{total >> 20} MiB"
    raise Contained(f"{total >> 20} MiB in all")


@attack
def inodes(place):
    for number in range(MOST_FILES):
        os.close(os.open(place.out / str(number), os.O_WRONLY | os.O_CREAT))
    return f"{MOST_FILES} files"


@attack
def open_files(place):
    for _ in range(100_000):
        os.open("/dev/null", os.O_RDONLY)
    return "100,000 open files"


@attack
def raise_limits(place):
    """A soft limit is one's own to raise; the hard one must not be."""
    for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE):
        hard = resource.getrlimit(kind)[1]
        if hard == resource.RLIM_INFINITY:
            return f"limit {kind} is none"
        try:
            resource.setrlimit(kind, (hard + 1, hard + 1))
        except ValueError as error:
            raise Contained(str(error)) from None
    return "limits were raised"


@attack
def sparse_file(place):
    """Eight TiB that take nothing here, and all there is where they are read."""
    written(place, {"m.c": relu(place)})
    os.truncate(place.out / "m.c", 8 << 40)


@attack
def loop(place):
    while True:
        pass


@attack
def sleep(place):
    time.sleep(100_000)


@attack
def first_in_line(place):
    """Real-time priority would starve everybody else."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return "real-time priority"


@attack
def locked_memory(place):
    libc = ctypes.CDLL(None, use_errno=True)
    held = mmap.mmap(-1, 1 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(held))
    if libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(1 << 30)) != 0:
        raise OSError(ctypes.get_errno(), "mlock")
    return "1 GiB that cannot be swapped"


@attack
def flood_stdout(place):
    return _flood(sys.stdout)


@attack
def flood_stderr(place):
    return _flood(sys.stderr)


def _flood(stream):
    for _ in range(MOST_BYTES // MIB):
        stream.write("f" * MIB)
        stream.flush()
    return f"{MOST_BYTES >> 20} MiB of output"
