"""However the command is stopped, and whatever it is at, nothing of it is left."""

import json
import os
import signal
import subprocess
import sys
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
    subprocess.run(["sh", "-c", "sleep 1000 & touch started; wait"], cwd=out)
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


def living(temporary: Path) -> list[str]:
    """The command lines of all processes that were given `temporary` to work in."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes()
        except (OSError, ProcessLookupError):
            continue
        if state != "Z" and os.fsencode(temporary) in environment:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


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
        (signal.SIGTERM, "compiling"),
        (signal.SIGKILL, "running"),
        (signal.SIGINT, "running"),
        (signal.SIGHUP, "running"),
    ],
)
def test_nothing_is_left(cli: Cli, tmp_path: Path, number: signal.Signals, where: str) -> None:
    model = write(tmp_path, "small.onnx", small_onnx().SerializeToString())
    temporary, out = tmp_path / "temporary", tmp_path / "out"
    temporary.mkdir()
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

    def is_there() -> bool:
        if where == "compiling":
            return any(temporary.rglob("started"))
        return any("qemu-system-arm" in line for line in living(temporary))

    assert eventually(lambda: is_there() or process.poll() is not None)
    assert is_there(), process.communicate()[1]
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -number
    assert "Traceback" not in said
    assert eventually(lambda: not living(temporary)), living(temporary)
    assert not list(temporary.iterdir())
    assert not out.exists()
