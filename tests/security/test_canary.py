"""What the attacks get hold of where there is no sandbox: so one that does nothing is seen.

Only those whose success harms nothing are run so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.hostile import NEEDLE, Planted, install, planted
from tests.security.tasks import task

READ = ["key_file", "key_file_by_link", "environment", "environments", "command_lines"]
READ += ["other_jobs_file", "search", "store", "home", "shared_memory"]
WRITTEN = ["write_own_folder", "change_own_program", "write_toolchain_cache", "write_store"]
WRITTEN += ["write_home", "write_other_job"]
SPOKEN = ["tcp", "udp", "unix_socket", "abstract_socket", "socket_pair_to_elsewhere", "bind"]
SPOKEN += ["hostname", "vsock", "netlink"]
SEEN = ["write_tmp", "write_shared_memory", "daemon", "kill_the_worker", "tcp", "write_other_job"]


def run(plan: Planted, folder: Path, does: str) -> str:
    """Run one attack with nothing around it; return the last it says."""
    compiler, out = install(folder / "hostile", plan), folder / "out"
    out.mkdir()
    (folder / "task.json").write_text(task(does).model_dump_json())
    command = [sys.executable, "-I", "-S", "program.py", "compile"]
    done = subprocess.run(
        [*command, str(folder / "task.json"), str(out)],
        cwd=compiler,
        env={"PATH": os.environ["PATH"], "SECRET": NEEDLE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    with planted(tmp_path_factory.mktemp("planted"), canary=True) as found:
        yield found


@pytest.mark.parametrize("does", [*READ, *WRITTEN, *SPOKEN])
def test_without_a_sandbox_it_succeeds(plan: Planted, tmp_path: Path, does: str) -> None:
    assert run(plan, tmp_path, does).startswith(f"{does}: ESCAPED: ")


@pytest.mark.parametrize("does", SEEN)
def test_harm_is_seen_from_outside(tmp_path: Path, does: str) -> None:
    """What an attack cannot tell by itself, or would not, is found where it was done."""
    with planted(tmp_path / "planted", canary=True) as plan:
        assert not plan.harm()
        run(plan, tmp_path, does)
        try:
            assert plan.harm()
        finally:
            plan.repair()
