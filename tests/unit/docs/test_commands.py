"""Every command of ours that a page shows exists, with the options it is shown with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from scripts.docs_links import markdown_files
from tests.unit.scaffold.project import ROOT
from tinymlaas.cli import app

# What was true when it was written, and pages that the code itself writes.
HISTORY = ("docs/adr/", "CHANGELOG.md", "docs/reference/")
PAGES = [name for name in markdown_files() if not name.startswith(HISTORY)]
SHOWN = re.compile(
    r"(?:^|[`$]|&& |PATH |[A-Z_]+=\S+ )[ ]*tinymlaas ((?:[^`\n]|\\\n)+)", re.MULTILINE
)
ROOT_COMMAND = typer.main.get_command(app)


def shown() -> Iterator[tuple[str, str]]:
    """Yield page and command line; what stands behind two spaces or a # explains it."""
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        for command in sorted(set(SHOWN.findall(text))):
            if re.match(r"[a-z]+(\s|$)", command):
                whole = re.sub(r"\\\n +", "", command)
                yield name, re.split(r"#|&&|\||>|  ", whole)[0].strip()


@pytest.mark.parametrize(("page", "line"), list(shown()))
def test_a_command_and_its_options_exist(page: str, line: str) -> None:
    command: Any = ROOT_COMMAND
    words = re.sub(r"[\[\]]", " ", line).split()
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-") or words[0].isupper():
            return  # a group by itself, as in `tinymlaas boards`
        name = words.pop(0).rstrip(",")
        assert name in command.commands, f"{page}: no such command: {line}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    used = {word.partition("=")[0].rstrip(",;.:)") for word in words if word.startswith("-")}
    assert used - {"--unsafe-no-sandbox"} <= known, f"{page}: {line}"


def test_there_are_many() -> None:
    assert len(list(shown())) > 60


@pytest.mark.parametrize("page", PAGES)
def test_the_python_on_a_page_compiles(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        compile(code, page, "exec")


def test_make_knows_what_pages_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        named = set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", text, re.MULTILINE))
        assert named <= targets, page
