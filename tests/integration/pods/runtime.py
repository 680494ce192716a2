"""Become one container as a container runtime would make it, and run its command.

    python -m tests.integration.pods.runtime SPEC.json

Started as root, or as a user who may make user namespaces. The parent stays outside as the
container's "shim": it passes SIGTERM on, and ends with the command's status.

Source for what a container sees: OCI runtime specification, config-linux.md ("default devices",
`maskedPaths`, `readonlyPaths`), with the paths that containerd and CRI-O mask by default.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from workers.sandbox import linux

MASKED = [
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys"),
    *("/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug"),
    *("/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"),
]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

_BIND, _RECURSIVE, _REMOUNT, _READ_ONLY = 4096, linux.MS_REC, linux.MS_REMOUNT, linux.MS_RDONLY
_PLAIN = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
_DETACH, _PIVOT_ROOT, _LAST_CAPABILITY = 2, 155, 63
_PR_CAPBSET_DROP, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 24, 22, 2
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    """Make the container that the file named says, and end as its command ends."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    namespaces = linux.ALL_NAMESPACES & ~(linux.CLONE_NEWUSER | linux.CLONE_NEWNET)
    if spec["cgroup"]:
        Path(spec["cgroup"], "cgroup.procs").write_text("0")
    if spec["network"]:
        _join_network(spec["network"])
    if os.getuid() == 0:
        linux.unshare(namespaces)
    else:
        _become_root_of_nothing(namespaces, spec["uid"], spec["gid"])
    pid = os.fork()
    if pid == 0:
        _contained(lambda: _run(spec))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _contained(work: Callable[[], None]) -> NoReturn:
    try:
        work()
    except BaseException as error:
        print(f"container: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(125)


def _join_network(name: str) -> None:
    with open(f"/run/netns/{name}") as handle:
        _checked(_libc.setns(handle.fileno(), linux.CLONE_NEWNET), f"netns {name}")


def _become_root_of_nothing(namespaces: int, uid: int, gid: int) -> None:
    """Without root: a user namespace in which we are the container's user, and may mount."""
    user, group = os.getuid(), os.getgid()
    linux.unshare(namespaces | linux.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {group} 1")


def _run(spec: dict[str, Any]) -> None:
    linux.die_with_parent(signal.SIGKILL)
    os.setsid()
    os.umask(0o022)
    socket.sethostname(spec["hostname"])
    _mounts(spec)
    _limit(spec["descriptors"])
    _give_up(spec["uid"], spec["gid"], spec["groups"])
    os.chdir(spec["directory"])
    arguments, variables = spec["arguments"], spec["variables"]
    filtered = bytes.fromhex(spec["filter"])
    if filtered:
        _filter(filtered)
    try:
        os.execvpe(arguments[0], arguments, variables)
    except OSError as error:
        print(f"container: {arguments[0]}: {error}", file=sys.stderr, flush=True)
        os._exit(127)


def _mounts(spec: dict[str, Any]) -> None:
    """Build the container's file system from what `spec` names, and enter it."""
    linux.make_mounts_private()
    root = spec["staging"]
    linux.mount("tmpfs", root, linux.MS_NOSUID, "mode=0755")
    for path in spec["image"]:
        _bind(path, f"{root}{path}", read_only=True)
    for link, target in spec["links"].items():
        Path(root, link[1:]).symlink_to(target)
    _system(root)
    for mount in spec["mounts"]:
        place = f"{root}{mount['at']}"
        if mount["source"]:
            _bind(mount["source"], place, read_only=mount["read_only"])
        else:
            Path(place).mkdir(parents=True, exist_ok=True)
            size = f"size={mount['size']}," if mount["size"] else ""
            linux.mount("tmpfs", place, linux.MS_NOSUID | linux.MS_NODEV, f"{size}mode=0777")
        # What stands for the image lies where it lies on this machine, and that may be below /tmp.
        for path in spec["image"]:
            if Path(path).is_relative_to(mount["at"]):
                _bind(path, f"{root}{path}", read_only=True)
    for path, content in spec["files"].items():
        Path(root, path[1:]).parent.mkdir(parents=True, exist_ok=True)
        Path(root, path[1:]).write_text(content)
    if spec["read_only_root"]:
        _remount(root, _READ_ONLY)
    os.chdir(root)
    _checked(_libc.syscall(_PIVOT_ROOT, b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", _DETACH), "umount of the old root")
    os.chdir("/")


def _system(root: str) -> None:
    """Mount /proc with its masks, /sys and /dev."""
    for name in ("proc", "sys", "dev", "tmp"):
        Path(root, name).mkdir(exist_ok=True)
    linux.mount("proc", f"{root}/proc", _PLAIN)
    _bind("/sys", f"{root}/sys", read_only=True)
    for path in READ_ONLY:
        if os.path.exists(f"{root}{path}"):
            _bind(f"{root}{path}", f"{root}{path}", read_only=True)
    for path in MASKED:
        if os.path.isdir(f"{root}{path}"):
            linux.mount("tmpfs", f"{root}{path}", _READ_ONLY, "mode=0755")
        elif os.path.exists(f"{root}{path}"):
            _bind("/dev/null", f"{root}{path}", read_only=False)
    linux.mount("tmpfs", f"{root}/dev", linux.MS_NOSUID, "mode=0755,size=64k")
    for name in DEVICES:
        _bind(f"/dev/{name}", f"{root}/dev/{name}", read_only=False)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        Path(root, "dev", name).symlink_to(f"/proc/self/fd{target}")
    for kind, place, options in (
        ("devpts", "pts", "newinstance,ptmxmode=0666,mode=0620"),
        ("tmpfs", "shm", "mode=1777,size=64m"),
        ("mqueue", "mqueue", ""),
    ):
        Path(root, "dev", place).mkdir()
        linux.mount(kind, f"{root}/dev/{place}", linux.MS_NOSUID | linux.MS_NOEXEC, options)


def _bind(source: str, place: str, *, read_only: bool) -> None:
    target = Path(place)
    if not os.path.lexists(place):
        if os.path.isdir(source):
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    flags = _BIND | _RECURSIVE
    _checked(_libc.mount(source.encode(), place.encode(), None, flags, None), f"bind {place}")
    if read_only:
        _remount(place, _READ_ONLY)


def _remount(place: str, flags: int) -> None:
    """Change a mount's flags; those the kernel has locked stay as they are."""
    locked = {os.ST_NOSUID: linux.MS_NOSUID, os.ST_NODEV: linux.MS_NODEV}
    locked |= {os.ST_NOEXEC: linux.MS_NOEXEC, os.ST_RDONLY: _READ_ONLY, 1024: 1024, 4096: 1 << 21}
    found = os.statvfs(place).f_flag
    kept = sum(flag for bit, flag in locked.items() if found & bit)
    flags |= _REMOUNT | _BIND | kept
    _checked(_libc.mount(None, place.encode(), None, flags, None), f"remount {place}")


def _limit(descriptors: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = descriptors if hard == resource.RLIM_INFINITY else min(descriptors, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _give_up(uid: int, gid: int, groups: list[int]) -> None:
    """Be that user without any capability, in the bounding set neither."""
    for capability in range(_LAST_CAPABILITY + 1):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # those the kernel lacks it refuses
    with contextlib.suppress(PermissionError):  # in a user namespace of ours: denied, as for pods
        os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    linux.drop_capabilities()
    linux.gain_nothing_by_exec()
    linux.die_with_parent(signal.SIGKILL)  # once more: becoming another user has undone it


def _filter(program: bytes) -> None:
    """Load a seccomp filter as the runtime does: last, and without a listener."""

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    kept = ctypes.create_string_buffer(program, len(program))
    header = Program(len(program) // 8, ctypes.addressof(kept))
    _checked(
        _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(header), 0, 0), "seccomp"
    )


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
