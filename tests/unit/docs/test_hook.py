"""Links written for the repository lead to the right pages of the site."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from scripts import docs_hook


def turned(uri: str, markdown: str) -> str:
    page: Any = SimpleNamespace(file=SimpleNamespace(src_uri=uri))
    nothing: Any = None
    return docs_hook.on_page_markdown(markdown, page=page, config=nothing, files=nothing)


@pytest.mark.parametrize(
    ("uri", "link", "there"),
    [
        ("farm.md", "signing.md#verifying", "signing.md#verifying"),
        ("farm.md", "../SECURITY.md#tenants", "security.md#tenants"),
        ("security.md", "docs/farm.md#roles", "farm.md#roles"),
        ("changelog.md", "README.md", "index.md"),
        ("reference/messages.md", "../../asyncapi.yaml", "../source/asyncapi.yaml.md"),
        ("farm.md", "../examples/plugin/", "source/examples/plugin/index.md"),
        ("source/examples/plugin/index.md", "elementwise.py", "elementwise.py.md"),
        ("source/examples/publish/README.md.md", "../../docs/publish.md", "../../../publish.md"),
        ("status-page.md", "screenshots/overview.png", "screenshots/overview.png"),
        ("farm.md", "https://example.com/x", "https://example.com/x"),
        ("farm.md", "gone.md", "gone.md"),
        ("farm.md", "#roles", "#roles"),
    ],
)
def test_a_link(uri: str, link: str, there: str) -> None:
    assert turned(uri, f"see [it]({link}).") == f"see [it]({there})."


def test_what_stands_in_a_block_of_code_is_left_alone() -> None:
    code = "```\n[x](../SECURITY.md)\n```"
    assert turned("farm.md", f"{code}\n[x](../SECURITY.md)") == f"{code}\n[x](security.md)"


def test_a_page_and_its_place_in_the_repository_are_the_same_thing() -> None:
    for path in ("SECURITY.md", "docs/farm.md", "examples/plugin", "asyncapi.yaml"):
        assert docs_hook.repository_path(docs_hook.site_uri(path)) == path


def test_a_folder_in_the_navigation_is_all_pages_in_it() -> None:
    config: Any = SimpleNamespace(nav=["index.md", {"Decisions": "adr/"}])
    index, decisions = docs_hook.on_config(config).nav
    assert index == "index.md"
    assert decisions["Decisions"][:2] == ["adr/index.md", "adr/0001-record-decisions.md"]
