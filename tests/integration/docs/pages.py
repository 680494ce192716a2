"""The blocks of a page, run as a reader would: in order, in one shell, in an empty folder.

Of what a block shows below a command each line must come out, in that order; `…` stands for what
may be anything in a line, and for any lines where it stands alone. `farm up` runs in the
background, as in a terminal of its own, until the page is at its end.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.unit.scaffold.project import ROOT

FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# What sets up a machine, and takes the whole clone: the tests run in what it has set up.
NOT_RUN = re.compile(r"make |\. \.venv/bin/activate")
MARK = "-- command %d ended with "


@dataclass
class Step:
    """A command, and what the page shows of its output; no lines where it shows none."""

    command: str
    shown: list[str] = field(default_factory=list)


def steps(page: str) -> Iterator[Step]:
    """Yield what is to be run of `page`, consoles and Python, in order."""
    for indent, language, inner in FENCE.findall(page):
        text = re.sub(f"^{indent}", "", inner, flags=re.MULTILINE)
        if language == "python":
            yield Step(f"python - <<'END'\n{text}END")
        elif language == "console":
            yield from _of_console(text)


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of one language."""
    found = FENCE.findall(page)
    return [
        re.sub(f"^{indent}", "", text, flags=re.MULTILINE)
        for indent, name, text in found
        if name == language
    ]


def run(page: str, folder: Path, environment: dict[str, str], seconds: float) -> list[str]:
    """Run the steps of `page` in `folder`; return what went otherwise than it shows."""
    wanted = [step for step in steps(page) if not NOT_RUN.match(step.command)]
    script = "\n".join(_scripted(number, step) for number, step in enumerate(wanted))
    (folder / "page.sh").write_text("trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n" + script)
    ended = subprocess.run(
        ["bash", "page.sh"],
        cwd=folder,
        env=environment | {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=seconds,
    )
    faults, rest = [], ended.stdout
    for number, step in enumerate(wanted):
        said, mark, rest = rest.partition(MARK % number)
        status, _, rest = rest.partition("\n")
        fault = f"ended with {status or 'nothing'}" if status != "0" else missing(step.shown, said)
        if fault:
            faults.append(f"$ {step.command}\n{fault}\n{said[-3000:]}")
        if not mark:
            break
    return faults


def missing(shown: list[str], said: str) -> str | None:
    """Say which line of `shown` does not come in `said`, after those before it."""
    lines = iter([_plain(line) for line in said.splitlines()])
    for line in shown:
        pattern = re.compile(".*".join(map(re.escape, _plain(line).split("…"))))
        if line.strip() != "…" and not any(pattern.fullmatch(each) for each in lines):
            return f"it does not say, or not there: {line}"
    return None


def _plain(line: str) -> str:
    return " ".join(re.sub("─+", "─", line).split())


def _of_console(text: str) -> Iterator[Step]:
    step: Step | None = None
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            if step:
                yield step
            step = Step(" ".join(line[2:].partition("  #")[0].split()))
        elif step and line.strip():
            step.shown.append(line)
    if step:
        yield step


def _scripted(number: int, step: Step) -> str:
    command = step.command
    if shlex.split(command)[:3] == ["tinymlaas", "farm", "up"]:
        waiting = "until grep -q ready: up.log; do kill -0 $! || break; sleep 0.2; done"
        command = f"{command} > up.log 2>&1 &\n{waiting}; cat up.log"
    return f'{command}\necho "{MARK % number}$?"\n'


def environment_of(home: Path) -> dict[str, str]:
    """Return the variables of a user who has never run tinymlaas before."""
    return {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "COLUMNS": "300"}


def newcomer(folder: Path) -> Path:
    """Return a folder in which the project's examples lie as in a clone."""
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder
