import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli.runner import Cli
from tinymlaas.contract.progress import Silent
from tinymlaas.local import LocalService
from tinymlaas.settings import Settings


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a test run share: what is built once may be taken by all."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "common"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def cache(common: Path) -> Path:
    return common / "cache" / "tinymlaas" / "toolchain"


@pytest.fixture
def cli(tmp_path: Path, common: Path) -> Cli:
    """A command line with a store of its own."""
    home = tmp_path / "home"
    home.mkdir()
    return Cli(home, common / "cache")


@pytest.fixture
def shared_service(common: Path, cache: Path) -> Callable[..., LocalService]:
    """Make services on the store that all have: whatever of them built it, it is built once."""

    def make(*compilers: Path) -> LocalService:
        settings = Settings(common / "store", cache, common / "keys", compilers)
        return LocalService(settings, Silent())

    return make
