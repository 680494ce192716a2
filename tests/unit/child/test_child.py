"""What becomes of a function in a child process, however it ends."""

import os
import struct
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.guardian.test_guardian import eventually
from tinymlaas.contract.errors import CompilerCrashed, UnsupportedModel
from workers import child


def call(tmp_path: Path, name: str, *args: object, seconds: float = 60) -> object:
    return child.call(
        f"tests.unit.child.work:{name}",
        *args,
        seconds=seconds,
        log=tmp_path / "log",
        what="the work",
    )


def test_the_result_comes_back_and_chatter_goes_to_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, "add", 2, 3) == 5
    assert capfd.readouterr() == ("", "")
    log = (tmp_path / "log").read_text()
    assert all(f"chatter {part}" in log for part in ("on stdout", "on stderr", "of native"))


def test_our_errors_come_back_whole(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        call(tmp_path, "refuse")
    assert caught.value.reasons == ("first reason", "second reason")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("stumble", "the work crashed: KeyError: 'no such thing'"),
        ("crash", "the work was killed by SIGSEGV"),
        ("leave", "the work crashed: it said nothing"),
        ("unpicklable", "the work crashed: .*pickle"),
        ("nowhere", "the work crashed: .*nowhere"),
    ],
)
def test_any_other_end_is_a_crash_that_says_why(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(CompilerCrashed, match=reason):
        call(tmp_path, name)


def test_the_time_limit_takes_what_was_started_along(tmp_path: Path) -> None:
    with pytest.raises(CompilerCrashed, match="the work took longer than 2 s and was stopped"):
        call(tmp_path, "hang", seconds=2)
    sleeper = int((tmp_path / "log").read_text())
    assert eventually(lambda: _ended(sleeper))


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_who_is_killed_in_the_middle_of_its_answer_was_killed(tmp_path: Path) -> None:
    receiver, sender = Pipe(duplex=False)
    os.write(sender.fileno(), struct.pack("!i", 100) + b"ten of 100")
    sender.close()
    killed = SimpleNamespace(join=lambda seconds: None, exitcode=-9)
    with pytest.raises(CompilerCrashed, match="the work was killed by SIGKILL"):
        child._await_answer(receiver, killed, 60, (tmp_path / "log", 0), "the work")


def test_a_fork_server_that_gives_no_child_is_no_traceback() -> None:
    def start() -> None:
        raise EOFError("unexpected EOF")  # what multiprocessing makes of it

    with pytest.raises(CompilerCrashed, match="too little memory"):
        child.launch(SimpleNamespace(start=start))


def test_temporary_files_lie_beside_the_log(tmp_path: Path) -> None:
    assert Path(str(call(tmp_path, "temporary_folder"))).parent == tmp_path
