"""What the documents point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.scaffold.project import ROOT, packages, tracked

PAGES = [path for path in tracked() if path.suffix == ".md"]
FOLDERS = "|".join([*packages(), "scripts", "tests", "docs", "examples", "benchmarks"])


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [link for link in links if link and not link.startswith(("https:", "http:"))]
    missing = [link for link in local if not (ROOT / page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_paths_in_code_marks_exist(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", text)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_decisions_are_numbered_and_short() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [record.name[:5] for record in records] == [
        f"{number:04d}-" for number in range(1, len(records) + 1)
    ]
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert text.startswith(f"# {record.name[:4]}: ")
        assert len(text.splitlines()) < 25
        assert all(f"**{part}" in text for part in ("Decided.", "Why.", "Follows."))
