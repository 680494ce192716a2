"""The few Linux calls that Python 3.11 has no name for: namespaces, mounts, capabilities, prctl.

Numbers are those of the kernel's user-space headers (linux/sched.h, sys/mount.h, linux/prctl.h,
linux/capability.h); manual pages unshare(2), mount(2), prctl(2), capset(2).
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWTIME = 0x00000080
ALL_NAMESPACES = (
    CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET
)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_REC, MS_PRIVATE = 32, 1 << 14, 1 << 18
_MS_BIND, _MS_MOVE = 4096, 8192

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` name for new ones. Raises OSError."""
    _checked(_libc.unshare(flags), "unshare")


def mount(kind: str, where: str, flags: int, options: str = "") -> None:
    """Mount a file system of `kind` at `where`. Raises OSError."""
    data = options.encode() or None
    _checked(
        _libc.mount(kind.encode(), where.encode(), kind.encode(), flags, data), f"mount {where}"
    )


def bind(source: str, where: str) -> None:
    """Have `source` seen at `where` too. Raises OSError."""
    _checked(_libc.mount(source.encode(), where.encode(), None, _MS_BIND, None), f"bind {where}")


def bind_read_only(source: str, where: str, flags: int) -> None:
    """Have `source` seen at `where` too, where nobody can write to it. Raises OSError."""
    bind(source, where)
    flags |= MS_REMOUNT | _MS_BIND | MS_RDONLY
    _checked(_libc.mount(None, where.encode(), None, flags, None), f"remount {where}")


def move_mount(source: str, where: str) -> None:
    """Have what is mounted at `source` at `where` instead. Raises OSError."""
    _checked(_libc.mount(source.encode(), where.encode(), None, _MS_MOVE, None), f"move {where}")


def make_mounts_private() -> None:
    """Have no mount of ours seen elsewhere."""
    _checked(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount --make-rprivate")


def die_with_parent(signal: int) -> None:
    """Have the kernel send us `signal` when our parent has ended."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl PR_SET_PDEATHSIG")


def be_opaque() -> None:
    """Let nobody of our user trace us or read our memory."""
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl PR_SET_DUMPABLE")


def gain_nothing_by_exec() -> None:
    """Have no set-user-id program give us anything; a seccomp filter demands it."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl PR_SET_NO_NEW_PRIVS")


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def drop_capabilities() -> None:
    """Give up every capability, for good."""
    for capability in range(_LAST_CAPABILITY + 1):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # those the kernel lacks it refuses
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header, none = _Header(_CAPABILITY_VERSION_3, 0), (_Sets * 2)()
    _checked(_libc.capset(ctypes.byref(header), none), "capset")


def pids_have_a_limit_of_their_own() -> bool:
    """Return whether kernel.pid_max is a pid namespace's own (Linux 6.14), not the machine's."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)) or 0)) >= (6, 14)
