"""Server processes: their end, and what is said of one that does not start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinymlaas.contract.errors import Failure
from tinymlaas.services.ports import free_ports, is_free
from tinymlaas.services.process import NotReady, ServerProcess
from tinymlaas.services.state import locked, remembered


def server(folder: Path, *program: str) -> ServerProcess:
    return ServerProcess("s", [sys.executable, "-c", "\n".join(program)], dict(os.environ), folder)


def never() -> None:
    raise NotReady("no answer")


def test_one_that_ends_while_starting_is_quoted(tmp_path: Path) -> None:
    process = server(tmp_path, "print('the disk is full')")
    process.start()
    with pytest.raises(Failure, match="the disk is full"):
        process.await_ready(never, 30)


def test_one_that_never_answers_is_given_up(tmp_path: Path) -> None:
    process = server(tmp_path, "import time", "time.sleep(60)")
    process.start()
    try:
        with pytest.raises(Failure, match="no answer"):
            process.await_ready(never, 0)
    finally:
        process.kill()


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    process = ServerProcess("s", ["/no/such/program"], {}, tmp_path)
    with pytest.raises(Failure, match="/no/such/program"):
        process.start()


def test_stop_asks_first_and_kills_what_does_not_listen(tmp_path: Path) -> None:
    def wait_for_word() -> None:
        if "ready" not in (tmp_path / "s.log").read_text():
            raise NotReady("no word")

    sleep = "print('ready', flush=True); time.sleep(60)"
    kind = server(tmp_path, "import time", sleep)
    kind.start()
    kind.await_ready(wait_for_word, 30)
    assert kind.stop(30) is True
    (tmp_path / "s.log").unlink()
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf = server(tmp_path, ignore, sleep)
    deaf.start()
    deaf.await_ready(wait_for_word, 30)
    assert deaf.stop(0.2) is False
    assert not deaf.running
    assert deaf.pid is None


def test_it_ends_with_us_even_if_we_are_killed(tmp_path: Path) -> None:
    program = f"""
import time, os
from pathlib import Path
from tinymlaas.services.process import ServerProcess
server = ServerProcess("s", ["sleep", "600"], dict(os.environ), Path({str(tmp_path)!r}))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_ports_are_kept_unless_taken(tmp_path: Path) -> None:
    first = remembered(tmp_path, 3)
    assert remembered(tmp_path, 3) == first
    assert (tmp_path / "service.json").stat().st_mode & 0o077 == 0
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.ports[1]))
        other.listen()
        assert not is_free(first.ports[1])
        second = remembered(tmp_path, 3)
    assert not set(second.ports) & {first.ports[1]}
    assert second.secret == first.secret


@pytest.mark.parametrize("text", ["", "[]", '{"ports": "x"}', '{"ports": [1], "user": 1}'])
def test_a_damaged_state_is_made_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "service.json").write_text(text)
    assert len(remembered(tmp_path, 2).ports) == 2


def test_a_folder_belongs_to_one(tmp_path: Path) -> None:
    with locked(tmp_path / "a"):
        with pytest.raises(Failure, match="belong to a process"), locked(tmp_path / "a"):
            pass
        with locked(tmp_path / "b"):
            pass
    with locked(tmp_path / "a"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match="cannot use the folder"), locked(tmp_path / "file"):
        pass


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(5, companions=True)
    assert len(set(ports)) == 5
    assert all(is_free(port) and is_free(port + 10_000) for port in ports)
