"""Pages that show how it is done are done as they show it."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.integration.docs.pages import blocks, environment_of, missing, newcomer, run, steps
from tests.unit.scaffold.project import ROOT
from workers import guardian

SECONDS = 900.0


def page_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_a_page_is_read_as_it_is_meant() -> None:
    page = "1. x\n\n    ```console\n    $ a \\\n      b  # c\n    out\n    …\n    $ d\n    ```\n"
    first, second = steps(page)
    assert (first.command, first.shown) == ("a b", ["out", "…"])
    assert (second.command, second.shown) == ("d", [])


@pytest.mark.parametrize(
    ("shown", "found"),
    [(["a", "…", "c"], True), (["a 1…", "c"], True), (["c", "a 1 2"], False), (["d"], False)],
)
def test_lines_shown_must_come_in_order(shown: list[str], found: bool) -> None:
    said = "a 1 2\na\nb\n  c\n"
    assert (missing(shown, said) is None) == found


def test_a_page_that_is_wrong_is_told(tmp_path: Path) -> None:
    page = "```console\n$ echo one\ntwo\n$ false\n$ echo three\nthree\n```\n"
    first, second = run(page, tmp_path, environment_of(tmp_path), 10)
    assert "it does not say, or not there: two" in first
    assert "ended with 1" in second


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/start.md", "docs/compile.md"])
def test_what_a_page_shows_is_what_happens(name: str) -> None:
    with guardian.scratch("test-pages") as folder:
        newcomer(folder)
        assert run(page_of(name), folder, environment_of(folder), SECONDS) == []
        if name == "docs/start.md":
            firmware_compiles(folder, page_of(name))


def firmware_compiles(folder: Path, page: str) -> None:
    (code,) = blocks(page, "c")
    zipfile.ZipFile(folder / "out" / "digits-nucleo-l4r5zi.zip").extractall(folder / "module")
    (folder / "firmware.c").write_text(code)
    strict = ["-Wall", "-Wextra", "-Werror", "-std=c11", "-mcpu=cortex-m4", "-mthumb"]
    command = ["arm-none-eabi-gcc", *strict, "-Imodule/include", "-c", "firmware.c"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)


@pytest.mark.slow
def test_a_board_is_added_as_the_page_says() -> None:
    page = page_of("docs/add-a-board.md")
    with guardian.scratch("test-pages") as folder:
        (profile,) = blocks(page, "toml")
        (newcomer(folder) / "my-l476.toml").write_text(profile)
        assert run(page, folder, environment_of(folder), SECONDS) == []


@pytest.mark.slow
def test_a_compiler_is_added_as_the_page_says() -> None:
    page = page_of("docs/add-a-compiler.md")
    (told,) = blocks(page, "toml")
    given = (ROOT / "examples" / "plugin" / "compiler.toml").read_text()
    assert told in given, "the page shows the example's own compiler.toml"
    with guardian.scratch("test-pages") as folder:
        assert run(page, newcomer(folder), environment_of(folder), SECONDS) == []


@pytest.mark.slow
def test_a_module_goes_into_a_firmware_as_the_page_says() -> None:
    page = page_of("docs/firmware.md")
    with guardian.scratch("test-pages") as folder:
        (code,) = blocks(page, "c")
        (newcomer(folder) / "recognise.c").write_text(code)
        assert run(page, folder, environment_of(folder), SECONDS) == []
