"""Ways to change what the next job, or the machine, will find."""

import os
import pathlib
import stat
import sys
import sysconfig

from table import Contained, attack


def _made(place, folder):
    """Try to make a file there, and take it away again if that went well."""
    path = pathlib.Path(folder, place.plan["written_name"])
    path.write_text("hostile")
    if not place.plan["canary"]:
        path.unlink()
    return f"wrote {path}"


@attack
def write_usr(place):
    return _made(place, "/usr/local/bin")


@attack
def write_library(place):
    return _made(place, pathlib.Path(os.__file__).parent)


@attack
def poison_packages(place):
    """A .pth file there is run by every Python that starts."""
    return _made(place, sysconfig.get_path("purelib"))


@attack
def poison_service(place):
    return _made(place, place.plan["service"])


@attack
def write_own_folder(place):
    """The compiler's own program, which the next job runs."""
    return _made(place, pathlib.Path(__file__).parent)


@attack
def change_own_program(place):
    with pathlib.Path(__file__).with_name("program.py").open("r+b"):
        return "the compiler's program can be changed"


@attack
def write_toolchain_cache(place):
    return _made(place, place.plan["cache"])


@attack
def write_store(place):
    return _made(place, place.plan["store"])


@attack
def write_home(place):
    return _made(place, place.plan["home"])


@attack
def write_other_job(place):
    path = pathlib.Path(place.plan["other"])
    with path.open("r+b") as file:
        file.write(b"h")
    return f"wrote {path}"


def _left(place, folder):
    """There is such a folder inside too, of the job's own: whether the file stands outside is
    for the test to see.
    """
    path = pathlib.Path(folder, place.plan["written_name"])
    path.write_text("hostile")
    raise Contained(f"wrote {path}, which nobody else should see")


@attack
def write_tmp(place):
    _left(place, place.plan["tmp"])


@attack
def write_shared_memory(place):
    _left(place, "/dev/shm")


@attack
def write_etc(place):
    return _made(place, "/etc")


@attack
def write_root(place):
    return _made(place, "/")


def _opened(path):
    descriptor = os.open(path, os.O_WRONLY)
    os.close(descriptor)
    return f"{path} can be written"


@attack
def write_core_pattern(place):
    """A program named there is run by the kernel as root, outside of everything."""
    return _opened("/proc/sys/kernel/core_pattern")


@attack
def write_sysrq(place):
    return _opened("/proc/sysrq-trigger")


@attack
def write_control_groups(place):
    for folder, _, files in os.walk("/sys/fs/cgroup"):
        for name in files:
            if name in ("cgroup.procs", "release_agent", "memory.max"):
                return _opened(f"{folder}/{name}")
    raise Contained("none to be seen")


@attack
def spare_us_from_oom(place):
    pathlib.Path("/proc/self/oom_score_adj").write_text("-1000")
    return "the kernel would kill others first"


@attack
def remount_by_proc(place):
    """A mount that is read-only can be written through another name of it, if there is one."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cwd", "root"):
            path = f"/proc/{pid}/{name}/usr"
            if os.path.isdir(path) and os.access(path, os.W_OK):
                return _made(place, path)
    raise Contained("each name of it is read-only")


@attack
def set_user_id(place):
    """A set-user-id program of root's gives root, unless that is switched off."""
    path = place.out / "sh"
    path.write_bytes(pathlib.Path("/bin/sh").resolve().read_bytes())
    path.chmod(0o4755)
    for program in ("/bin/su", "/usr/bin/passwd", "/bin/mount", "/usr/bin/sudo"):
        if os.path.exists(program) and os.stat(program).st_mode & stat.S_ISUID:
            flags = next(
                line.split()[1]
                for line in pathlib.Path("/proc/self/status").read_text().splitlines()
                if line.startswith("NoNewPrivs:")
            )
            if flags != "1":
                return f"{program} would give us its owner's powers"
    raise Contained("no program gives anything")


@attack
def leave_python_startup(place):
    """What the next job's Python might read on its way up: its working folder and its home."""
    for folder in {os.getcwd(), os.environ.get("HOME", "/"), os.environ.get("TMPDIR", "/tmp")}:
        for name in ("sitecustomize.py", "usercustomize.py", "json.py"):
            try:
                pathlib.Path(folder, name).write_text("raise SystemExit('poisoned')\n")
            except OSError:
                continue
    raise Contained(f"left what the next job must not find, beside {sys.argv[0]}")
