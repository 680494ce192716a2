"""The policy file: limits, classes of tenants, and its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.admission import Policy
from tinymlaas.contract.errors import UsageError
from tinymlaas.farm import policy
from tinymlaas.farm.policy import STANDARD, read_policy


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def test_no_file_means_the_defaults() -> None:
    found, classes = read_policy(None)
    assert found == Policy()
    assert classes.of("anybody") == STANDARD


def test_an_empty_file_means_the_defaults_too(tmp_path: Path) -> None:
    assert read_policy(written(tmp_path, ""))[0] == Policy()


def test_the_example_in_the_docstring(tmp_path: Path) -> None:
    lines = (policy.__doc__ or "").splitlines()
    example = "\n".join(line for line in lines if line.startswith("    "))
    found, classes = read_policy(written(tmp_path, example.replace("    ", "", 1)))
    assert found.waiting == 20_000
    assert found.total == 50_000
    assert found.build_seconds == 1500
    assert found.retries == 5
    assert found.tenants == {"acme", "lab"}
    assert (found.weight("acme"), found.weight("lab")) == (3, 1)
    assert (classes.of("acme"), classes.of("lab")) == ("gold", STANDARD)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("waiting = 0", "waiting"),
        ("total = 60000", "total"),
        ("wating = 10", "wating"),
        ("waiting = 'many'", "waiting"),
        ("[classes.Gold]\nweight = 2", "Gold"),
        ("[classes.gold]\nweight = 0", "classes.gold.weight"),
        ("[classes.gold]\ntenants = ['Not A Tenant']", "classes.gold.tenants"),
        ("[classes.a]\ntenants = ['x']\n[classes.b]\ntenants = ['x']", "tenant x"),
        ("waiting = ", "TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, word: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_policy(path)
    assert word in str(caught.value)
    assert str(path) in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_policy(written(tmp_path, "waiting = 0\ntotal = 0\n"))
    assert len(caught.value.reasons) == 2


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_policy(tmp_path / "none.toml")
