"""Boards as QEMU plays them: an exported harness in a firmware of its own, made by make."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from storage.archive import Archive
from tinymlaas.contract.device import Core
from workers.pack import write_new
from workers.toolchains import linker
from workers.toolchains.firmware import startup_sources
from workers.toolchains.toolchain import toolchain_for
from workers.verify.board.export import Port, exported
from workers.verify.machines import Machine, qemu_machines

HERE = Path(__file__).parent

# What somebody who has a firmware of their own would write.
_MAKEFILE = """\
include harness/harness.mk
firmware.elf: {main} {start} $(TINYMLAAS_SOURCES)
\t{gcc} {flags} -std=gnu11 -Wall -Wextra -Werror $(TINYMLAAS_CFLAGS) -nostartfiles -T firmware.ld \\
\t  -Wl,--gc-sections,--no-warn-rwx-segments -o $@ $^ $(TINYMLAAS_LIBS)
"""


def firmware(archive: Archive, port: Port, main: str, folder: Path) -> tuple[Path, Machine]:
    """Link the exported harness of `archive` with `main`; return the image and what runs it."""
    target = archive.manifest.target
    machine = qemu_machines(target)[-1]
    write_new(exported(archive, port, "net.zip"), folder / "harness")
    toolchain = toolchain_for(target.core)
    script = linker.script(machine.placement(), archive.manifest.name)
    (folder / "firmware.ld").write_text(script)
    makefile = _MAKEFILE.format(
        main=HERE / main,
        start=" ".join(map(str, startup_sources(target.core))),
        gcc=toolchain.tool("gcc"),
        flags=" ".join(toolchain.cflags(target)),
    )
    (folder / "Makefile").write_text(makefile)
    subprocess.run(["make", "-s", "-C", str(folder)], check=True)
    return folder / "firmware.elf", machine


def _qemu(image: Path, machine: Machine, serial: str, *extra: str) -> subprocess.Popen[str]:
    # Counted time, as a core has: RV32's minstret counts instructions and not this machine's clock.
    command = [machine.emulator, *machine.arguments, "-nodefaults", "-display", "none"]
    command += ["-monitor", "none", "-serial", serial, *extra, "-kernel", str(image)]
    command += ["-icount", f"shift={machine.clock.shift}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@contextlib.contextmanager
def on_tcp(image: Path, machine: Machine) -> Iterator[str]:
    """Play a board with its UART on a TCP port; yield where."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with _playing(_qemu(image, machine, f"tcp:127.0.0.1:{port},server=on,wait=on")) as played:
        deadline = time.monotonic() + 60
        while "waiting" not in (line := played.stdout.readline() if played.stdout else ""):
            assert played.poll() is None, line
            assert time.monotonic() < deadline
        yield f"tcp://127.0.0.1:{port}"


@contextlib.contextmanager
def on_tty(image: Path, machine: Machine) -> Iterator[str]:
    """Play a board with its UART on a pseudo-terminal; yield its path."""
    with _playing(_qemu(image, machine, "pty")) as played:
        assert played.stdout is not None
        line = played.stdout.readline()
        found = re.search(r"/dev/pts/\d+", line)
        assert found, line
        yield found[0]


@contextlib.contextmanager
def _playing(played: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield played
    finally:
        played.kill()
        played.communicate()


def semihosted(image: Path, machine: Machine, folder: Path) -> bytes:
    """Run a semihosted firmware in `folder` to its end; return what it wrote."""
    options = "enable=on,target=native"
    command = [machine.emulator, *machine.arguments, "-nodefaults", "-display", "none"]
    command += ["-semihosting-config", options, "-kernel", str(image)]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    return (folder / "outputs.bin").read_bytes()


UARTS = {Core.CORTEX_M4: "uart_cmsdk.c", Core.RV32IMAC: "uart_16550.c"}
