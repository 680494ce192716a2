"""Lines of keys, whatever way TOML lets one write them."""

from __future__ import annotations

import tomllib

import pytest

from tinymlaas.boards.lines import line_index, line_of
from tinymlaas.boards.units import parse_bytes

TEXT = '''\
# a comment = 1
"quoted key" = 1
dotted.key.path = 2
multi = """
fake = 1
[fake]
"""
array = [
    1, # x = [
    { a = 1, b = "}" },
]

[table]
key = 'it''s' # no
[table.sub]
key = 1
[[list]]
key = 1
[list.inner]
key = 2
[[list]]

  key   =   3
[[list.deep]]
key = 4
[[list.deep]]
key = 5
'''.replace("'it''s'", "'its'")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_key_has_its_line(ending: str) -> None:
    text = TEXT.replace("\n", ending)
    tomllib.loads(text)
    index = line_index(text)
    expected = {
        ("quoted key",): 2,
        ("dotted", "key", "path"): 3,
        ("multi",): 4,
        ("array",): 8,
        ("array", 1, "b"): 8,
        ("table",): 13,
        ("table", "key"): 14,
        ("table", "sub", "key"): 16,
        ("list", 0): 17,
        ("list", 0, "key"): 18,
        ("list", 0, "inner", "key"): 20,
        ("list", 1): 21,
        ("list", 1, "key"): 23,
        ("list", 1, "deep", 0, "key"): 25,
        ("list", 1, "deep", 1, "key"): 27,
    }
    assert {path: index.get(path) for path in expected} == expected
    assert not any("fake" in path for path in index)


def test_a_missing_key_is_at_the_table_around_it() -> None:
    index = line_index(TEXT)
    assert line_of(("list", 1, "none"), index) == 21
    assert line_of(("none",), index) == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("640 KiB", 655360), ("2MiB", 2 << 20), ("1.5 KiB", 1536), ("1_000 B", 1000)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["640", "640 KB", "640 kib", "KiB", "-1 B", "1.1 B", "1e3 B", ""])
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"KiB|whole"):
        parse_bytes(text)
