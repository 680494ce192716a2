"""Contrast: every text on every ground it may stand on, in light and in dark."""

from __future__ import annotations

import re

import pytest

from tinymlaas.status.templating import FOLDER

SHEET = (FOLDER / "static" / "style.css").read_text()
LIGHT, DARK = re.findall(r":root \{(.*?)\}", SHEET, re.S)
PAIRS = [
    *(
        (text, ground)
        for text in ("text", "quiet", "accent", "bad")
        for ground in ("card", "ground")
    ),
    *((text, "good-ground") for text in ("text", "good", "warn", "accent", "bad")),
    ("bad", "bad-ground"),
    ("warn", "warn-ground"),
    ("accent", "accent-ground"),
    ("quiet", "quiet-ground"),
    ("quiet", "good-ground"),
    ("warn", "card"),
    ("button-text", "button"),
]


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


def luminance(colour: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_is_seen(text: str, ground: str, scheme: str) -> None:
    known = colours(scheme)
    dark, light = sorted((luminance(known[text]), luminance(known[ground])))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_colours_are_named_once() -> None:
    assert colours(LIGHT).keys() == colours(DARK).keys()
    rest = re.sub(r":root \{.*?\}", "", SHEET, flags=re.S)
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b", rest)
