"""However the command is stopped, and whatever it is at, nothing of it is left."""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli.models import small_onnx, write
from tests.integration.cli.runner import Cli

# A compiler that never ends at compiling, or whose module never ends at running.
PLUGIN = """
import json, os, pathlib, subprocess, sys
if sys.argv[1] == "describe":
    operators = [{"format": "onnx", "dtype": "float32", "operators": ["MatMul", "Relu"]}]
    about = {"name": "endless", "version": "1", "cores": ["cortex-m4"], "operators": operators}
    sys.exit(print(json.dumps(about)))
if sys.argv[1] == "supports":
    sys.exit(print("{}"))
task, out = json.loads(pathlib.Path(sys.argv[2]).read_text()), pathlib.Path(sys.argv[3])
if WHERE == "compiling":
    subprocess.run(["sh", "-c", "sleep 1017 & wait"], cwd=out)
source = "#include <stdint.h>\\nint32_t endless(uint8_t *a) { for (;;) a[0]++; }"
(out / "m.c").write_text(source)
summary = task["summary"]
compiled = {"compiler": "endless", "version": "1", "entry": "endless", "arena": {"size": 128},
  "inputs": [{"spec": summary["inputs"][0], "offset": 0}],
  "outputs": [{"spec": summary["outputs"][0], "offset": 64}],
  "sources": ["m.c"], "weight_bytes": 0}
(out / "compiled.json").write_text(json.dumps(compiled))
"""


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(2400):
        if condition():
            return True
        time.sleep(0.05)
    return False


class Family:
    """A process and all that descends from it, also what is seen in none of its namespaces."""

    def __init__(self, pid: int) -> None:
        self._root = pid
        self._known: dict[int, str] = {}  # the moment at which it was started tells a pid's owner

    def look(self) -> list[str]:
        """Return the command lines of all there are now, and remember them."""
        parents = {pid: facts[1] for pid, facts in _processes().items()}
        family = {self._root}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        found = _processes()
        self._known |= {pid: found[pid][2] for pid in family if pid in found}
        return [_command(pid) for pid in family]

    def living(self) -> list[str]:
        """Return the command lines of those remembered that still run."""
        found = _processes()
        return [
            _command(pid)
            for pid, began in self._known.items()
            if pid in found and found[pid][0] != "Z" and found[pid][2] == began
        ]


def _processes() -> dict[int, tuple[str, int, str]]:
    """State, parent and start of every process (proc(5), stat)."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            facts = (folder / "stat").read_text().rpartition(")")[2].split()
            found[int(folder.name)] = (facts[0], int(facts[1]), facts[19])
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def plugin(folder: Path, where: str) -> Path:
    folder.mkdir()
    (folder / "p.py").write_text(PLUGIN.replace("WHERE", json.dumps(where)))
    config = 'name = "endless"\nversion = "1"\ncommand = ["python3", "p.py"]\n'
    (folder / "compiler.toml").write_text(config)
    return folder


@pytest.mark.parametrize(
    ("number", "where"),
    [
        (signal.SIGKILL, "compiling"),
        pytest.param(signal.SIGTERM, "compiling", marks=pytest.mark.slow),
        (signal.SIGKILL, "running"),
        (signal.SIGINT, "running"),
        pytest.param(signal.SIGHUP, "running", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_left(cli: Cli, tmp_path: Path, number: signal.Signals, where: str) -> None:
    model = write(tmp_path, "small.onnx", small_onnx().SerializeToString())
    out = tmp_path / "out"
    # Short: the fork server's socket lies in it, and the path of a socket is limited to 107 bytes.
    temporary = Path(tempfile.mkdtemp(prefix="stop-"))
    command = ["compile", model, "--board", "mps2-an386", "--compiler", "endless", "-o", out]
    process = subprocess.Popen(
        [sys.executable, "-m", "tinymlaas", *map(str, command)],
        env=cli.environment
        | {
            "TMPDIR": str(temporary),
            "TINYMLAAS_COMPILERS": str(plugin(tmp_path / "plugin", where)),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    family = Family(process.pid)
    sign = "sleep 1017" if where == "compiling" else "qemu-system-arm"

    def is_there() -> bool:
        return any(line.startswith(sign) or f"/{sign}" in line for line in family.look())

    assert eventually(lambda: is_there() or process.poll() is not None)
    assert is_there(), process.communicate()[1]
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -number
    assert "Traceback" not in said
    assert eventually(lambda: not family.living()), family.living()
    assert eventually(lambda: not list(temporary.iterdir())), list(temporary.iterdir())
    temporary.rmdir()
    assert not out.exists()
