"""Which system calls a job may make: an allow-list, compiled by libseccomp into a BPF program.

What is not on the list is refused with EPERM, and told to the job's supervisor, which logs it
(SECCOMP_RET_USER_NOTIF, seccomp_unotify(2)). A program that asks for something odd in passing goes
on without it. The lists were found by running every step with the calls logged; what they leave
out on purpose: anything with sockets but a pair, namespaces, mounts, tracing, other processes'
memory, keys, BPF, perf, io_uring, userfaultfd, modules, clocks, devices, memory that no limit
counts (memfd, SysV, shared without a name).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import struct
import tempfile
from enum import StrEnum
from typing import Any

from tinymlaas.contract.errors import Failure
from workers.sandbox import linux


class Profile(StrEnum):
    """`PARSE`: libraries within one process. `TOOLS`: other programs may be started too."""

    PARSE = "parse"
    TOOLS = "tools"


_MEMORY = (
    "brk munmap mremap mprotect madvise mincore msync mlock munlock membarrier pkey_mprotect "
    "pkey_alloc pkey_free get_mempolicy"
)
_FILES = (
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 open openat openat2 "
    "creat close close_range lseek stat fstat lstat newfstatat statx access faccessat faccessat2 "
    "readlink readlinkat getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink "
    "unlinkat rename renameat renameat2 link linkat symlink symlinkat truncate ftruncate fallocate "
    "chmod fchmod fchmodat umask utime utimes utimensat futimesat fsync fdatasync sync_file_range "
    "flock dup dup2 dup3 fcntl pipe pipe2 sendfile copy_file_range splice tee statfs fstatfs "
    "fadvise64 readahead mknod mknodat ioctl getxattr lgetxattr fgetxattr listxattr chown fchown "
    "lchown fchownat syncfs"
)
_WAITING = (
    "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait "
    "epoll_pwait2 eventfd eventfd2 timerfd_create timerfd_settime timerfd_gettime signalfd "
    "signalfd4 futex futex_waitv nanosleep clock_nanosleep pause"
)
_SIGNALS = (
    "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend "
    "rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack kill tkill tgkill alarm setitimer getitimer "
    "timer_create timer_settime timer_gettime timer_getoverrun timer_delete restart_syscall"
)
_PROCESS = (
    "getpid getppid gettid getuid geteuid getgid getegid getgroups getresuid getresgid getpgid "
    "getpgrp getsid setsid setpgid getrusage times getrlimit setrlimit prlimit64 getpriority "
    "setpriority exit exit_group wait4 waitid fork vfork set_tid_address set_robust_list "
    "get_robust_list rseq arch_prctl prctl sched_yield sched_getaffinity sched_setaffinity "
    "sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min getcpu "
    "clock_gettime clock_getres gettimeofday time uname sysinfo getrandom personality capget "
    "pidfd_open pidfd_send_signal ioprio_get umask"
)
_PAIRS = "sendmsg recvmsg sendto recvfrom shutdown getsockopt setsockopt getsockname getpeername"
_TOOLS = "execve execveat"
# Newer calls that the C library, and of io_uring QEMU at each start, does without if they are not
# there: nothing that a user should read about each time.
_UNKNOWN = "clone3 statmount listmount map_shadow_stack cachestat fchmodat2 mseal io_uring_setup"
_NAMESPACES = linux.ALL_NAMESPACES | linux.CLONE_NEWTIME
_AF_UNIX = 1
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20


@functools.cache
def compiled(profile: Profile) -> bytes:
    """Return the profile's filter for this machine's processor, for `install`.

    Raises:
        Failure: libseccomp is missing or too old.
    """
    try:
        import pyseccomp as libseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise Failure(f"no sandbox: {error}: apt-get install libseccomp2") from None
    rules = libseccomp.SyscallFilter(libseccomp.NOTIFY)
    names = [_MEMORY, _FILES, _WAITING, _SIGNALS, _PROCESS, _PAIRS]
    if profile is Profile.TOOLS:
        names.append(_TOOLS)
    for name in dict.fromkeys(" ".join(names).split()):
        if _known(libseccomp, name):
            rules.add_rule(libseccomp.ALLOW, name)
    # Threads and forks, but no namespaces; pairs of Unix sockets, but none that leads anywhere.
    no_namespace = libseccomp.Arg(0, libseccomp.MASKED_EQ, _NAMESPACES, 0)
    rules.add_rule(libseccomp.ALLOW, "clone", no_namespace)
    # No shared memory without a name: no limit counts it once its pages are given back (madvise).
    for bit in (_MAP_ANONYMOUS, _MAP_SHARED):
        rules.add_rule(libseccomp.ALLOW, "mmap", libseccomp.Arg(3, libseccomp.MASKED_EQ, bit, 0))
    unix = libseccomp.Arg(0, libseccomp.EQ, _AF_UNIX)
    rules.add_rule(libseccomp.ALLOW, "socketpair", unix)
    for name in _UNKNOWN.split():
        if _known(libseccomp, name):
            rules.add_rule(libseccomp.ERRNO(errno.ENOSYS), name)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _known(libseccomp: Any, name: str) -> bool:
    """Return whether this processor has a call of that name: ARM has no `open`, say."""
    number = libseccomp.resolve_syscall(libseccomp.system_arch(), name)
    return isinstance(number, int) and number >= 0


_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277}
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(program: bytes) -> int:
    """Put the filter on this process for good; return the descriptor that hears of refusals.

    Raises:
        OSError: the kernel refuses.
    """
    kept = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // 8, ctypes.addressof(kept))
    number = _SYS_SECCOMP[os.uname().machine]
    found = _libc.syscall(number, _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(header))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"seccomp: {os.strerror(code)}")
    return int(found)


# struct seccomp_notif: u64 id, u32 pid, u32 flags, seccomp_data (i32 nr, u32 arch, u64 ip, u64[6])
_NOTIFICATION = struct.Struct("<QIIiIQ6Q")
_RESPONSE = struct.Struct("<QqiI")  # u64 id, s64 value, s32 error, u32 flags
_RECEIVE = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV
_SEND = 0xC0182101  # SECCOMP_IOCTL_NOTIF_SEND


def refuse(listener: int) -> int | None:
    """Answer the call that waits at `listener` with EPERM; return its number (None: it is gone)."""
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
        identity, _, _, number, *_ = _NOTIFICATION.unpack(buffer)
        answer = bytearray(_RESPONSE.pack(identity, 0, -errno.EPERM, 0))
        fcntl.ioctl(listener, _SEND, answer)
    except OSError:  # who asked was killed meanwhile
        return None
    return int(number)


@functools.cache
def name_of(number: int) -> str:
    """Return the name of this processor's system call `number`."""
    import pyseccomp

    found = pyseccomp.resolve_syscall(pyseccomp.system_arch(), number)
    return found.decode() if isinstance(found, bytes) else str(found or number)
