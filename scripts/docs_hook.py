"""MkDocs hook: pages that lie outside docs/ come into the site without a copy of them in git.

SECURITY.md and CHANGELOG.md are pages of their own. Each other file or folder of the repository
that a page links to becomes a page below `source/`, for a reader of the site may have no checkout.
Links are written for the repository, as GitHub and an editor show them, and are turned here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = "docs/"
OUTSIDE = {"SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md", "README.md": "index.md"}
SOURCE = "source/"
LANGUAGES = {
    **{".py": "python", ".js": "javascript", ".mjs": "javascript", ".go": "go", ".c": "c"},
    **{".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "bash"},
}
_LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)\s#]+)(?P<rest>#[^)\s]*)?(?P<after>\))")
_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Have an entry of the navigation that is a folder stand for all pages in it, in order."""
    config.nav = _unfolded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside, and those below `source/` that any page links to."""
    for path, uri in OUTSIDE.items():
        if uri not in files.src_uris:
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    waiting = [file for file in files if file.is_documentation_page()]
    while waiting:
        page = waiting.pop()
        for path in _linked(page.content_string, repository_path(page.src_uri)):
            uri = site_uri(path)
            if uri.startswith(SOURCE) and uri not in files.src_uris:
                added = File.generated(config, uri, content=_source_page(path))
                files.append(added)
                waiting.append(added)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page to where their targets are in the site."""
    here = page.file.src_uri
    at = repository_path(here)

    def turned(link: re.Match[str]) -> str:
        path = _resolved(link["target"], at)
        if path is None or not (ROOT / path).exists():
            return link[0]  # MkDocs says what is wrong with it
        target = posixpath.relpath(site_uri(path), posixpath.dirname(here) or ".")
        return f"{link['before']}{target}{link['rest'] or ''}{link['after']}"

    return _outside_of_fences(markdown, lambda text: _LINK.sub(turned, text))


def repository_path(uri: str) -> str:
    """Return the path in the repository of the page at `uri` of the site."""
    for path, outside in OUTSIDE.items():
        if uri == outside and path != "README.md":
            return path
    if uri.startswith(SOURCE):
        return uri.removeprefix(SOURCE).removesuffix(".md").removesuffix("/index")
    return DOCS + uri


def site_uri(path: str) -> str:
    """Return the page of the site for the file or folder at `path` of the repository."""
    if path in OUTSIDE:
        return OUTSIDE[path]
    if (ROOT / path).is_dir():
        return f"{path.removeprefix(DOCS) if path.startswith(DOCS) else SOURCE + path}/index.md"
    return path.removeprefix(DOCS) if path.startswith(DOCS) else f"{SOURCE}{path}.md"


def _unfolded(entry: Any) -> Any:
    if isinstance(entry, list):
        return [_unfolded(each) for each in entry]
    if isinstance(entry, dict):
        return {title: _unfolded(inner) for title, inner in entry.items()}
    if isinstance(entry, str) and entry.endswith("/"):
        pages = sorted((ROOT / DOCS / entry).glob("*.md"), key=lambda p: (p.stem != "index", p))
        return [entry + page.name for page in pages]
    return entry


def _linked(markdown: str, at: str) -> Iterator[str]:
    for link in _LINK.finditer(_FENCE.sub("", markdown)):
        path = _resolved(link["target"], at)
        if path is not None and (ROOT / path).exists():
            yield path


def _resolved(target: str, at: str) -> str | None:
    """Return the repository's path of `target` as the file at `at` means it; None if elsewhere."""
    if re.match(r"[a-z][a-z+.-]*:|/", target):
        return None
    folder = at if (ROOT / at).is_dir() else posixpath.dirname(at)
    path = posixpath.normpath(posixpath.join(folder, target))
    return None if path.startswith("..") else path


def _source_page(path: str) -> str:
    file = ROOT / path
    head = f"---\nsearch:\n  exclude: true\n---\n\n# `{path}`\n\n"
    if file.is_dir():
        inside = sorted(each for each in file.iterdir() if _shown(each))
        return head + "".join(f"- [{each.name}]({each.name})\n" for each in inside)
    if file.suffix == ".md":
        return head + _FIRST_HEADING.sub("", file.read_text(encoding="utf-8"), count=1)
    text = _text(file)
    if text is None:
        return head + f"{file.stat().st_size:,} bytes that are no text.\n"
    return f"{head}````{LANGUAGES.get(file.suffix, 'text')}\n{text.rstrip()}\n````\n"


_FIRST_HEADING = re.compile(r"^# .*\n", re.MULTILINE)


def _shown(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def _outside_of_fences(markdown: str, change: Any) -> str:
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])
