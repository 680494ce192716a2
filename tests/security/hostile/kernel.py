"""System calls that a compiler has no use for. Numbers are those of x86-64.

Each is made so that it harms nothing where it is not refused.
"""

import ctypes
import errno
import mmap
import os
import struct

from table import Contained, attack

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# What the kernel says of a call that has come through to where its arguments are looked at.
_LOOKED_AT = {errno.EINVAL, errno.EFAULT, errno.EBADF, errno.ESRCH, errno.ENOENT, errno.E2BIG}


def _call(number, *arguments):
    wide = [each if isinstance(each, bytes) else ctypes.c_long(each) for each in arguments]
    result = _libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _refused(number, *arguments):
    """Make a call whose arguments are nonsense; that they were looked at is an escape already."""
    try:
        _call(number, *arguments)
    except OSError as error:
        if error.errno in _LOOKED_AT:
            return f"the call came through: {error}"
        raise
    return "the call went well"


@attack
def trace_parent(place):
    return f"attached: {_call(101, 16, os.getppid(), 0, 0)}"  # PTRACE_ATTACH


@attack
def trace_init(place):
    return f"attached: {_call(101, 0x4206, 1, 0, 0)}"  # PTRACE_SEIZE


@attack
def read_parents_memory(place):
    buffer = ctypes.create_string_buffer(8)
    vector = struct.pack("QQ", ctypes.addressof(buffer), 8)
    remote = struct.pack("QQ", id(_libc), 8)
    return _refused(310, os.getppid(), vector, 1, remote, 1, 0)


@attack
def write_parents_memory(place):
    buffer = ctypes.create_string_buffer(8)
    vector = struct.pack("QQ", ctypes.addressof(buffer), 8)
    return _refused(311, os.getppid(), vector, 1, struct.pack("QQ", 16, 8), 1, 0)


@attack
def parents_descriptors(place):
    """pidfd_getfd: take an open file out of another process."""
    return f"descriptor {_call(438, _call(434, os.getppid(), 0), 0, 0)}"


@attack
def mount(place):
    folder = place.out / "mounted"
    folder.mkdir()
    return f"mounted: {_call(165, b'none', bytes(folder), b'tmpfs', 0, 0)}"


@attack
def unmount(place):
    return _refused(166, b"/proc", 2)  # MNT_DETACH


@attack
def pivot(place):
    return _refused(155, b".", b".")


@attack
def change_root(place):
    return f"changed: {_call(161, bytes(place.out))}"


@attack
def new_mount_interface(place):
    """fsopen: the calls that replace mount are other calls."""
    return f"descriptor {_call(430, b'tmpfs', 0)}"


@attack
def new_user_namespace(place):
    """All capabilities in it, and with them the kernel's least looked-at code."""
    return f"unshared: {_call(272, 0x10000000)}"


@attack
def clone_user_namespace(place):
    pid = _call(56, 0x10000000 | 17, 0, 0, 0, 0)  # CLONE_NEWUSER | SIGCHLD
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "a child in a user namespace of its own"


@attack
def clone3_user_namespace(place):
    """Its flags lie in memory, where no filter sees them: it has to be refused as a whole."""
    arguments = struct.pack("<11Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
    pid = _call(435, arguments, len(arguments))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "a child in a user namespace of its own"


@attack
def join_namespace(place):
    descriptor = os.open("/proc/1/ns/net", os.O_RDONLY)
    return f"joined: {_call(308, descriptor, 0)}"


@attack
def load_bpf(place):
    attributes = struct.pack("<IIII", 2, 4, 4, 1) + bytes(100)  # an array of one
    return f"map {_call(321, 0, attributes, len(attributes))}"


@attack
def watch_performance(place):
    attributes = struct.pack("<IIQ", 1, 112, 0) + bytes(96)
    return f"descriptor {_call(298, attributes, -1, 0, -1, 0)}"


@attack
def fault_in_user_space(place):
    return f"descriptor {_call(323, 1)}"  # UFFD_USER_MODE_ONLY


@attack
def kernel_keys(place):
    return f"key {_call(248, b'user', b'hostile', b'k', 1, -3)}"


@attack
def read_kernel_keys(place):
    return f"keyring {_call(250, 0, -3, 1)}"  # KEYCTL_GET_KEYRING_ID of the session


@attack
def io_uring(place):
    """Does files and sockets without system calls that a filter would see."""
    return f"descriptor {_call(425, 4, bytes(120))}"


@attack
def load_kernel(place):
    return _refused(246, 0, 0, 0, 1 << 20)


@attack
def load_module(place):
    return _refused(175, b"nothing", 7, b"")


@attack
def reboot(place):
    return _refused(169, 0, 0, 0, 0)  # with wrong magic numbers


@attack
def set_clock(place):
    return _refused(227, 0, struct.pack("QQ", 0, 2 * 10**9))  # nanoseconds that are none


@attack
def set_time(place):
    return _refused(164, struct.pack("QQ", 0, 2 * 10**6), 0)


@attack
def open_by_handle(place):
    """Opens files by number, past every mount."""
    handle = struct.pack("<iiQ", 8, 1, 2)
    return _refused(304, os.open(".", os.O_RDONLY), handle, 0)


@attack
def set_host_name(place):
    return f"set: {_call(170, b'hostile', 7)}"


@attack
def swap(place):
    return _refused(167, b"/none", 0)


@attack
def accounting(place):
    return _refused(163, b"/none")


@attack
def ports(place):
    return _refused(172, 3)  # iopl


@attack
def migrate_pages(place):
    return _refused(279, os.getppid(), 0, 0, 0, 0, 0)  # move_pages of another process


@attack
def segments(place):
    return _refused(154, 1, bytes(16), 0)  # modify_ldt


@attack
def watch_files(place):
    return _refused(300, 0, 0)  # fanotify_init


@attack
def make_device(place):
    """The first disk, by its number."""
    os.mknod(place.out / "disk", 0o60600, os.makedev(8, 0))
    with (place.out / "disk").open("rb") as disk:
        return f"read {len(disk.read(512))} bytes of a disk"


@attack
def become_root(place):
    os.setresuid(0, 0, 0) if os.getuid() else os.setresuid(1, 1, 1)
    return "another user"


@attack
def old_calls(place):
    """The same calls by the numbers of a 32-bit program: a filter of one table misses them."""
    code = b"\x53\xb8\x36\x01\x00\x00\xbb\x00\x00\x00\x10\xcd\x80\x5b\xc3"  # unshare(NEWUSER)
    memory = mmap.mmap(
        -1, 4096, mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    )
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    if result == 0:
        return "a user namespace by int 0x80"
    raise Contained(f"refused with {errno.errorcode.get(-result, result)}")


@attack
def other_table(place):
    """x32: the 64-bit calls again, with one bit more in their number."""
    return f"unshared: {_call(272 | 0x40000000, 0x10000000)}"


@attack
def capabilities(place):
    """None held, and none that could be had."""
    with open("/proc/self/status") as status:
        held = {
            line.split()[0]: int(line.split()[1], 16) for line in status if line.startswith("Cap")
        }
    if any(held.values()):
        return f"capabilities {held}"
    raise Contained("none")
