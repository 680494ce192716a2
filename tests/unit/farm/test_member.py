"""A process whose log is gone, and one that is killed while it answers."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from tinymlaas.farm.member import FarmMember


def member(folder: Path) -> FarmMember:
    return FarmMember("scheduler", ["scheduler"], {}, folder)


def test_how_it_ended_is_told_though_somebody_has_removed_its_log(tmp_path: Path) -> None:
    """Who keeps it running asks, and must not end with that."""
    assert member(tmp_path).said_last() == ""
    (tmp_path / "scheduler.log").write_text("12:00:00Z scheduler INFO stopped\n")
    assert member(tmp_path).said_last() == "12:00:00Z scheduler INFO stopped"


@pytest.mark.parametrize("status", [b"200 OK", b"503 Service Unavailable"])
def test_half_an_answer_is_none(tmp_path: Path, status: bytes) -> None:
    asked = member(tmp_path)
    with socket.create_server(("127.0.0.1", int(asked.url.rpartition(":")[2]))) as server:

        def answer() -> None:
            line, _ = server.accept()
            with line:
                line.recv(1000)
                line.sendall(b"HTTP/1.0 " + status + b"\r\nContent-Length: 10\r\n\r\nact")

        answering = threading.Thread(target=answer)
        answering.start()
        assert asked.page("/readyz")[0] == 0
        answering.join()
