from pathlib import Path

import pytest

from tests.integration.cli.runner import Cli


@pytest.fixture
def cli(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    home = tmp_path / "home"
    home.mkdir()
    return Cli(home, tmp_path_factory.getbasetemp() / "cache")


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "cache" / "tinymlaas" / "toolchain"
