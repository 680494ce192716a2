"""One farm with a stub compiler for all tests of this folder that run in one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.client.farms import Place
from tests.services.farm import farm
from tests.services.stub_compiler import install
from tinymlaas import Client
from workers import guardian


@pytest.fixture(scope="session")
def shared() -> Iterator[Place]:
    """A farm; tests have tenants and jobs of their own on it."""
    with guardian.scratch("test-client") as folder:
        stub = install(folder / "stub")
        with farm(folder / "farm", ["stub"], compilers=[stub.folder]) as running:
            yield Place(running, stub)


@pytest.fixture
def place(shared: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    """The farm, with the environment pointing at it."""
    for name, value in shared.running.environment.items():
        if name.startswith(("AWS_", "TINYMLAAS_")):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("TINYMLAAS_TENANT", f"t-{tmp_path.name.replace('_', '-')[:20].rstrip('-')}")
    return shared


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    """A client of the test's own tenant."""
    with Client() as found:
        yield found
