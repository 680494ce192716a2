from pathlib import Path

import pytest

from tinymlaas.contract.errors import UsageError
from tinymlaas.settings import from_environment


def test_below_home_unless_told_otherwise() -> None:
    found = from_environment({"HOME": "/h"})
    assert found.store == Path("/h/.cache/tinymlaas/store")
    assert found.toolchain_cache == Path("/h/.cache/tinymlaas/toolchain")
    assert found.keys == Path("/h/.config/tinymlaas")
    assert found.compilers == ()


def test_every_variable_is_obeyed_and_an_empty_one_is_none() -> None:
    found = from_environment(
        {
            "HOME": "/h",
            "XDG_CACHE_HOME": "/c",
            "XDG_CONFIG_HOME": "",
            "TINYMLAAS_STORE": "/s",
            "TINYMLAAS_KEYS": "/k",
            "TINYMLAAS_COMPILERS": "/a::b",
        }
    )
    assert (found.store, found.keys) == (Path("/s"), Path("/k"))
    assert found.toolchain_cache == Path("/c/tinymlaas/toolchain")
    assert found.compilers == (Path("/a"), Path("b"))


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(UsageError, match="set HOME"):
        from_environment({})
