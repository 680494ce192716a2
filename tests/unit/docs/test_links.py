"""The link checker finds what is planted, and takes what is right."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import docs_links
from tests.unit.scaffold.project import ROOT

PAGE = """# One page

## A *heading*, with `code`!

See [it](#a-heading-with-code), [there](sub/other.md#down-here), [the tool](../tools/tool.py),
`docs/sub/`, `docs/sub/*.md`, `tinymlaas compile` and [elsewhere](https://example.com/x#y).
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "docs/page.md": PAGE,
        "docs/sub/other.md": "## Down here\n",
        "tools/tool.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def faults(root: Path, planted: str) -> list[str]:
    page = root / "docs" / "planted.md"
    page.write_text(planted)
    return list(docs_links.repository_faults(root, ["docs/page.md", "docs/planted.md"]))


def test_right_links_are_taken(root: Path) -> None:
    assert faults(root, "nothing") == []


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        ("[x](gone.md)", "no such file or folder"),
        ("[x](page.md#gone)", "no such heading"),
        ("[x](#gone)", "no such heading"),
        ("![x](gone.png)", "no such file or folder"),
        ("[x](../../outside)", "no such file or folder"),
        ("[x][gone]\n\n[gone]: nowhere.md", "no such file or folder"),
        ("`docs/gone.md`", "no such file or folder"),
        ("compile.<tenant> is the key", "<tenant>: HTML"),
        ("| a |\n| --- |\n| `docs/gone/*` |", "no such file or folder"),
    ],
)
def test_planted_faults_are_found(root: Path, planted: str, reason: str) -> None:
    (fault,) = faults(root, planted)
    assert fault.startswith("docs/planted.md: ")
    assert reason in fault


@pytest.mark.parametrize(
    ("html", "reason"),
    [
        ('<a href="gone.html">x</a>', "no such page"),
        ('<a href="#gone">x</a>', "no such place"),
        ('<a href="other.html#gone">x</a>', "no such place"),
        ('<script src="https://cdn.example.com/x.js"></script>', "another host"),
        ('<link rel="stylesheet" href="//cdn.example.com/x.css">', "another host"),
        ('<img src="https://img.example.com/x.png">', "another host"),
    ],
)
def test_faults_of_the_site_are_found(tmp_path: Path, html: str, reason: str) -> None:
    (tmp_path / "other.html").write_text('<h1 id="here"></h1><a href="https://x.example/">x</a>')
    (tmp_path / "page.html").write_text('<a href="other.html#here"></a>')
    assert list(docs_links.site_faults(tmp_path)) == []
    (tmp_path / "page.html").write_text(html)
    (fault,) = docs_links.site_faults(tmp_path)
    assert fault.startswith("page.html: ")
    assert reason in fault


def test_a_font_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "x.css").write_text('@font-face{src:url("https://fonts.example.com/x.woff")}')
    (fault,) = docs_links.site_faults(tmp_path)
    assert "another host" in fault


def test_a_list_that_the_site_does_not_take_for_one_is_found(tmp_path: Path) -> None:
    docs, site = tmp_path / "docs", tmp_path / "site"
    docs.mkdir()
    site.mkdir()
    (docs / "page.md").write_text("1. one\n   - two\n")
    (site / "page.html").write_text("<li><article><li>one - two</article><li>")
    (fault,) = docs_links.unlike_faults(docs, site)
    assert fault.startswith("page.md: 2 <li> in the file, 1 in the site: a nested list needs")
    (site / "page.html").write_text("<article><li>one<li>two</article>")
    assert list(docs_links.unlike_faults(docs, site)) == []


def test_every_markdown_file_that_git_has_is_checked() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {"README.md", "SECURITY.md", "docs/farm.md"} <= set(docs_links.markdown_files())
    assert set(listed.stdout.split()) <= set(docs_links.markdown_files())
