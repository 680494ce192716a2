"""One farm with two schedulers and one browser for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from tests.services.browser import chromium
from tests.services.farm import FarmProcess, RunningFarm, farm
from tests.services.stub_compiler import install
from tinymlaas import Client
from workers import guardian

TOKEN = "a-token-that-nobody-guesses"


@dataclass(frozen=True)
class Place:
    """The farm; one scheduler is active, the other stands by."""

    running: RunningFarm

    def scheduler(self, word: str) -> FarmProcess:
        """Return the one that says it is `word`."""
        schedulers = self.running.schedulers
        return next(each for each in schedulers if each.get("/readyz")[1].startswith(word))

    @property
    def active(self) -> str:
        """URL of the one that schedules."""
        return self.scheduler("active").url

    @property
    def standby(self) -> str:
        """URL of the other."""
        return self.scheduler("standby").url


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    with guardian.scratch("test-status") as folder:
        stub = install(folder / "stub")
        with farm(
            folder / "farm",
            ["stub"],
            compilers=[stub.folder],
            schedulers=2,
            TINYMLAAS_STATUS_TOKEN=TOKEN,
        ) as running:
            yield Place(running)


@pytest.fixture
def client(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name, value in place.running.environment.items():
        if name.startswith(("AWS_", "TINYMLAAS_")):
            monkeypatch.setenv(name, value)
    with Client(tenant="acme") as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[WebDriver]:
    with chromium() as driver:
        yield driver
