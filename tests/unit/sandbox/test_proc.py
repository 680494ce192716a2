"""What a supervisor reads of processes: who ends is left out, what cannot be read is an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.sandbox.proc import Processes, Usage

STATUS = "Name:\tRssAnon: 9\nThreads:\t{}\nNSpid:\t{}\n"
SIZES = "RssAnon:\t{} kB\nVmPTE:\t4 kB\nVmSwap:\t0 kB\n"


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[tuple[Path, Processes]]:
    """A folder that stands for a /proc of the job's own."""
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield tmp_path, Processes(descriptor, own=True)
    os.close(descriptor)


def write(folder: Path, pid: int, text: str, thread: int | None = None) -> None:
    place = folder / str(pid) if thread is None else folder / str(pid) / "task" / str(thread)
    place.mkdir(parents=True, exist_ok=True)
    (place / "status").write_text(text)


def test_sizes_are_added_up_and_the_first_is_left_out(shown: tuple[Path, Processes]) -> None:
    folder, processes = shown
    write(folder, 1, STATUS.format(1, 1) + SIZES.format(1 << 20))
    write(folder, 2, STATUS.format(3, 2) + SIZES.format(100))
    assert list(processes.usages()) == [Usage(3, 104 << 10)]


def test_another_thread_knows_when_the_first_has_ended(shown: tuple[Path, Processes]) -> None:
    folder, processes = shown
    write(folder, 2, STATUS.format(2, 2))
    write(folder, 2, STATUS.format(2, 2), 2)
    write(folder, 2, STATUS.format(2, 7) + SIZES.format(50), 7)
    assert list(processes.usages()) == [Usage(2, 54 << 10)]


def test_who_has_gone_is_left_out(shown: tuple[Path, Processes]) -> None:
    folder, processes = shown
    (folder / "5").mkdir()
    assert list(processes.usages()) == []


def test_what_cannot_be_read_is_an_error(shown: tuple[Path, Processes]) -> None:
    folder, processes = shown
    (folder / "5" / "status").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        list(processes.usages())
