"""Files that come out of a job: plain ones by plain names, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinymlaas.contract.errors import CompilerCrashed
from workers.sandbox import files


def test_files_go_in_and_come_out(tmp_path: Path) -> None:
    given = {"a.c": b"int a;", "src/deep/b.h": b"", "w+x=1,@.bin": bytes(256)}
    files.write(tmp_path, given)
    assert files.read(tmp_path) == given


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/x",
        "a/../b",
        "a//b",
        ".",
        "..",
        "",
        "a\nb",
        "a b",
        "é",
        "a/" * 20 + "b",
        "x" * 300,
    ],
)
def test_an_odd_name_is_refused_and_nothing_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(CompilerCrashed, match="no plain relative name"):
        files.write(tmp_path / "in", {"ok": b"", name: b""})
    assert not (tmp_path / "in").exists()


def test_a_file_cannot_be_a_folder_too(tmp_path: Path) -> None:
    with pytest.raises(CompilerCrashed, match="both a file and a folder"):
        files.write(tmp_path, {"a": b"", "a/b": b""})


def _link(folder: Path) -> None:
    (folder / "out").symlink_to("/etc/passwd")


def _folder_link(folder: Path) -> None:
    (folder / "out").symlink_to("/etc")


def _hard_link(folder: Path) -> None:
    (folder / "first").write_bytes(b"x")
    os.link(folder / "first", folder / "out")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "out")


def _odd(folder: Path) -> None:
    (folder / "a\nb").touch()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_link, "out is a symbolic link"),
        (_folder_link, "out is a symbolic link"),
        (_hard_link, "has another name"),
        (_pipe, "out is no regular file"),
        (_odd, "no plain relative name"),
    ],
)
def test_what_is_no_plain_file_does_not_come_out(tmp_path: Path, make, reason: str) -> None:
    make(tmp_path)
    with pytest.raises(CompilerCrashed, match=reason):
        files.read(tmp_path)


def test_there_is_an_end_to_what_comes_out(tmp_path: Path) -> None:
    files.write(tmp_path, {str(i): b"12345" for i in range(5)})
    with pytest.raises(CompilerCrashed, match="larger than allowed"):
        files.read(tmp_path, most_bytes=24)
    with pytest.raises(CompilerCrashed, match="more than 4 files"):
        files.read(tmp_path, most_files=4)
    assert len(files.read(tmp_path, most_bytes=25, most_files=5)) == 5
