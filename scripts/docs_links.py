"""Check that every link of the documentation leads somewhere (--site: of the built site, too).

In the repository: links of all Markdown files, to files, folders and headings, and paths in
`backticks`, which go stale as easily. In the site: links, and that nothing comes from another host.
Addresses elsewhere are not asked: that needs a network, and says nothing about us.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pymdownx import slugs  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
SITE = ROOT / "out" / "site"
# What was written once and is not changed afterwards may name what is gone.
HISTORY = ("docs/adr/", "CHANGELOG.md")
TOP = "benchmarks|broker|deploy|docs|examples|scheduler|scripts|storage|tests|tinymlaas|workers"
_PATH = re.compile(rf"(?:{TOP})/[\w.*/-]*")
_SLUG = slugs.slugify(case="lower")
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_COUNTED = {"list_item_open", "table_open", "tr_open", "heading_open", "blockquote_open"}
# What a browser fetches by itself, as against what somebody clicks on.
_FETCHED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src")}
_FETCHING_LINKS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload"}


def repository_faults(root: Path, files: list[str]) -> Iterator[str]:
    """Tell what is wrong with the links of the Markdown `files` below `root`."""
    for name in files:
        tokens = _tokens(root / name)
        for target in _links(tokens):
            fault = _fault(root, root / name, target)
            if fault:
                yield f"{name}: {target}: {fault}"
        yield from (f"{name}: {tag}: HTML; escape it or put it into `…`" for tag in _html(tokens))
        if not name.startswith(HISTORY):
            for path in _paths(tokens):
                if not _is_there(root, path):
                    yield f"{name}: `{path}`: no such file or folder"


def site_faults(site: Path) -> Iterator[str]:
    """Tell what is wrong with the pages below `site`."""
    pages = {page: _Page(page) for page in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        yield from (f"{name}: {url}: fetched from another host" for url in page.foreign)
        for link in page.links:
            target, anchor = urldefrag(link)
            file = (path.parent / unquote(target)).resolve() if target else path
            if name.name == "404.html" or urlsplit(link).scheme:
                continue  # the 404 page is served at any address: its links begin with /
            if file not in pages and not file.is_file():
                yield f"{name}: {link}: no such page"
            elif anchor and file in pages and unquote(anchor) not in pages[file].names:
                yield f"{name}: {link}: no such place on that page"
    for style in site.rglob("*.css"):
        for url in re.findall(r"url\(['\"]?(https?:)?//[^)]*\)", style.read_text("utf-8")):
            yield f"{style.relative_to(site)}: {url}: fetched from another host"


def unlike_faults(docs: Path, site: Path) -> Iterator[str]:
    """Tell which pages the site shows otherwise than GitHub and editors, which read CommonMark.

    Python-Markdown wants four spaces before a nested list and an empty line before any list.
    """
    for file in sorted(docs.rglob("*.md")):
        page = site / file.relative_to(docs).with_suffix(".html")
        opened = Counter(token.tag for token in _tokens(file) if token.type in _COUNTED)
        shown = _Page(page).tags if page.is_file() else Counter()
        for tag, number in opened.items():
            if shown[tag] != number:
                yield (
                    f"{file.name}: {number} <{tag}> in the file, {shown[tag]} in the site: "
                    "a nested list needs four spaces, every list and table an empty line before it"
                )


def _fault(root: Path, file: Path, link: str) -> str | None:
    if urlsplit(link).scheme in {"http", "https", "mailto"}:
        return None
    target, anchor = urldefrag(link)
    found = (file.parent / unquote(target)).resolve() if target else file
    if not found.is_relative_to(root) or not found.exists():
        return "no such file or folder"
    if anchor and (found.suffix != ".md" or unquote(anchor) not in _headings(found)):
        return "no such heading"
    return None


@cache
def _tokens(file: Path) -> list[Token]:
    return _MARKDOWN.parse(file.read_text(encoding="utf-8"))


def _inline(tokens: list[Token]) -> Iterator[Token]:
    return (child for token in tokens for child in token.children or ())


def _links(tokens: list[Token]) -> Iterator[str]:
    for token in _inline(tokens):
        name = {"link_open": "href", "image": "src"}.get(token.type)
        if name:
            yield str(token.attrs[name])


def _html(tokens: list[Token]) -> Iterator[str]:
    """Yield what a browser would take for tags, and hence not show, as a `<tenant>` in prose."""
    for token in [*tokens, *_inline(tokens)]:
        if token.type in {"html_block", "html_inline"} and not token.content.startswith(
            ("<!--", "<br>")
        ):
            yield token.content.strip()


def _paths(tokens: list[Token]) -> Iterator[str]:
    """Yield what is a path of the repository, as in `scripts/test.sh`; not `tinymlaas compile`."""
    for token in _inline(tokens):
        if token.type == "code_inline" and _PATH.fullmatch(token.content):
            yield token.content


def _is_there(root: Path, path: str) -> bool:
    if "*" in path:
        return any(root.glob(path))
    return (root / path).exists()


@cache
def _headings(file: Path) -> set[str]:
    """Return the anchors of a file, of headings that stand twice the first one's."""
    found = set()
    for before, token in pairwise(_tokens(file)):
        if before.type == "heading_open":
            found.add(_SLUG("".join(child.content for child in token.children or ()), "-"))
    return found


class _Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.foreign: list[str] = []
        self.tags: Counter[str] = Counter()
        self._article = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_endtag(self, tag: str) -> None:
        self._article = self._article and tag != "article"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._article = self._article or tag == "article"
        self.tags[tag] += self._article
        self.names |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        for name, value in values.items():
            fetches = (tag, name) in _FETCHED
            if tag == "link":
                fetches = fetches and bool(_FETCHING_LINKS & set(values.get("rel", "").split()))
            if fetches and urlsplit(value).netloc:
                self.foreign.append(value)


def markdown_files() -> list[str]:
    """Return all Markdown files that git has, or will have."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in sorted(listed.stdout.splitlines()) if (ROOT / name).is_file()]


def main(arguments: list[str]) -> int:
    """Print all faults on stderr; return 1 if there are any."""
    faults = list(repository_faults(ROOT, markdown_files()))
    if arguments == ["--site"]:
        faults += [*site_faults(SITE), *unlike_faults(ROOT / "docs", SITE)]
    for fault in faults:
        print(fault, file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
