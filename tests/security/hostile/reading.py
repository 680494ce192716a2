"""Ways to read what is not the job's."""

import ctypes
import os
import pathlib
import sys

from table import Contained, attack


def _needle(place):
    """What all secrets contain; turned round in the plan, which is ours to read."""
    return place.plan["needle"][::-1].encode()


def _found(place, what):
    content = pathlib.Path(what).read_bytes()
    if _needle(place) in content:
        return f"{what}: {content[:100]!r}"
    raise Contained(f"{what} has another content")


@attack
def shadow(place):
    content = pathlib.Path("/etc/shadow").read_bytes()
    return f"{len(content)} bytes"


@attack
def key_file(place):
    return _found(place, place.plan["secret"])


@attack
def key_file_through_init(place):
    """The root folder of another process is that of its namespace."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        path = pathlib.Path(f"/proc/{pid}/root{place.plan['secret']}")
        if path.exists():
            return _found(place, path)
    raise Contained("no process has it in its root")


@attack
def key_file_by_link(place):
    link = place.out / "link"
    link.symlink_to(place.plan["secret"])
    try:
        return _found(place, link)
    finally:
        link.unlink()


@attack
def environment(place):
    for name, value in os.environb.items():
        if _needle(place) in value:
            return name.decode()
    return _found(place, "/proc/self/environ")


def _of_all(place, what):
    looked = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            content = pathlib.Path(f"/proc/{pid}/{what}").read_bytes()
        except OSError:
            continue
        looked += 1
        if _needle(place) in content:
            return f"{what} of {pid}"
    raise Contained(f"not in {looked} that can be read")


@attack
def environments(place):
    return _of_all(place, "environ")


@attack
def command_lines(place):
    return _of_all(place, "cmdline")


@attack
def memory_of_others(place):
    """Scan what other processes hold, where the kernel lets us."""
    scanned = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            lines = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
            with pathlib.Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
                for line in lines:
                    start, end = (int(n, 16) for n in line.split()[0].split("-"))
                    if " rw" in line and end - start < 1 << 24:
                        memory.seek(start)
                        content = memory.read(end - start)
                        scanned += len(content)
                        if _needle(place) in content:
                            return f"in the memory of {pid}"
        except OSError:
            continue
    raise Contained(f"not in the {scanned} bytes that can be read")


@attack
def other_jobs_file(place):
    return _found(place, place.plan["other"])


@attack
def search(place):
    """Look for planted files wherever files of others would be."""
    name = place.plan["planted_name"]
    for root in place.plan["roots"]:
        for folder, folders, files in os.walk(root):
            folders[:] = [each for each in folders if f"{folder}/{each}" != sys.base_prefix]
            if name in files:
                return f"{folder}/{name}"
    raise Contained("found nowhere")


def _listed(folder):
    names = os.listdir(folder)
    if names:
        return f"{folder}: {names[:3]}"
    raise Contained(f"{folder} is empty")


@attack
def store(place):
    return _listed(place.plan["store"])


@attack
def home(place):
    return _listed(place.plan["home"])


@attack
def descriptors(place):
    """What a careless parent has left open."""
    for number in range(3, 256):
        try:
            os.fstat(number)
        except OSError:
            continue
        return f"descriptor {number}: {os.readlink(f'/proc/self/fd/{number}')}"
    raise Contained("none beyond 2")


@attack
def devices(place):
    usual = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm"}
    usual |= {"fd", "stdin", "stdout", "stderr", "core"}
    odd = set(os.listdir("/dev")) - usual
    if odd:
        return f"devices {sorted(odd)[:5]}"
    raise Contained("none but the harmless")


@attack
def terminal(place):
    descriptor = os.open("/dev/tty", os.O_RDWR)
    return f"the terminal of our caller, as {descriptor}"


@attack
def kernel_log(place):
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(1 << 16)
    count = libc.klogctl(3, buffer, len(buffer))  # SYSLOG_ACTION_READ_ALL
    if count < 0:
        raise OSError(ctypes.get_errno(), "syslog")
    return f"{count} bytes of the kernel's log"


@attack
def shared_memory(place):
    """System V shared memory is found by a number: only an IPC namespace keeps it away."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    identity = libc.shmget(place.plan["shared_memory"], 0, 0)
    if identity < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    address = libc.shmat(identity, None, 0o10000)  # SHM_RDONLY
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "shmat")
    return ctypes.string_at(address, 32).hex()


@attack
def our_package(place):
    """Not the secret: whether the service's modules can be imported tells nothing, keys would."""
    for folder in [*sys.path, place.plan["home"]]:
        for name in ("signing.pem", "signing-key.pem", "key.pem", ".aws", ".netrc", ".pgpass"):
            if folder and pathlib.Path(folder, name).exists():
                return f"{folder}/{name}"
    raise Contained("no credentials beside the modules")
