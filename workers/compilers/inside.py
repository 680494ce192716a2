"""What of a compiler runs in a job of the sandbox: the job's folder is the working directory."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tinymlaas.contract.compiler import Estimate
from tinymlaas.contract.errors import CompilerCrashed
from workers import guardian
from workers.compilers.output import MAX_JSON_BYTES, MAX_OUTPUT_BYTES, MAX_OUTPUT_FILES
from workers.compilers.plugin import TASK_FILE
from workers.sandbox import files
from workers.sandbox.files import Files

_TASK, _OUT = Path("task"), Path("out")
_TAIL = 400
_DRAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Ended:
    """How a program ended: exit status, stdout, the last line of stderr, the files of ``OUT/``."""

    status: int
    output: bytes
    complaint: str
    files: Files


def compile_in_tree(module: str, task: Files, variables: Mapping[str, str]) -> Files:
    """Have the plugin `module` compile `task`; return what it wrote."""
    _written(task)
    _plugin(module, variables).compile(_TASK / TASK_FILE, _OUT)
    return _out()


def estimate_in_tree(module: str, task: Files, variables: Mapping[str, str]) -> Estimate | None:
    """Return the estimate that the plugin `module` makes of `task`."""
    _written(task)
    found: Estimate | None = _plugin(module, variables).estimate_model(_TASK / TASK_FILE)
    return found


def run_program(command: list[str], folder: str, verb: str, task: Files | None) -> Ended:
    """Run ``command verb`` with what the verb takes, `folder` being its working directory.

    Raises:
        CompilerCrashed: it cannot be started, or wrote what nobody can take.
    """
    paths = []
    if task is not None:
        _written(task)
        paths.append(str((_TASK / TASK_FILE).resolve()))
    if verb == "compile":
        paths.append(str(_OUT.resolve()))
    answer = Path("stdout")
    with answer.open("wb") as output:
        try:
            process = subprocess.Popen(
                [*command, verb, *paths],
                cwd=folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise CompilerCrashed(f"cannot be started: {error}") from None
    tail = _Tail(process.stderr)
    # Where there is no sandbox, only this ends what the program starts, and it if we are killed.
    with guardian.group(process.pid):
        try:
            status = process.wait()
        finally:
            guardian.kill_group(process.pid)
    complaint = tail.last_line()
    with answer.open("rb") as said:
        output_bytes = said.read(MAX_JSON_BYTES + 1)
    return Ended(status, output_bytes, complaint, _out() if verb == "compile" else {})


class _Tail:
    """Passes on what a program complains of, as it comes, and knows the last line of it.

    What the program left running may hold its end of the pipe: that is not waited for.
    """

    def __init__(self, pipe: IO[bytes] | None) -> None:
        assert pipe is not None  # noqa: S101 - for the type checker: we asked for a pipe
        self._pipe = pipe
        self._end = b""
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def _pass_on(self) -> None:
        while said := os.read(self._pipe.fileno(), 1 << 16):
            self._end = (self._end + said)[-2 * _TAIL :]
            sys.stderr.buffer.write(said)
            sys.stderr.buffer.flush()

    def last_line(self) -> str:
        """Return the last line that is not blank, shortened, or a remark that there is none."""
        self._thread.join(_DRAIN_SECONDS)
        lines = [line.strip() for line in self._end.decode(errors="replace").split("\n")]
        return next((line[-_TAIL:] for line in reversed(lines) if line), "it said nothing")


def _plugin(module: str, variables: Mapping[str, str]) -> Any:
    os.environ.update(variables)  # this process is the job's own
    return importlib.import_module(module)


def _written(task: Files) -> None:
    files.write(_TASK, task)
    _OUT.mkdir()


def _out() -> Files:
    return files.read(_OUT, most_bytes=MAX_OUTPUT_BYTES, most_files=MAX_OUTPUT_FILES)


def _environment() -> dict[str, str]:
    """Return a bare environment: our Python first in PATH, fixed locale, no credentials."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    here = str(Path.cwd())
    return {
        "PATH": path,
        "HOME": here,
        "TMPDIR": here,
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
