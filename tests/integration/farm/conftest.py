from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.farm.desk import Desk
from tests.services.farm import farm
from tests.services.stub_compiler import Stub, install

POLICY = """
waiting = 1100
worker_seconds = 10
tenants = ["crowd", "single", "a", "b", "c", "bad"]
"""


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Stub:
    return install(tmp_path_factory.mktemp("stub") / "stub")


@pytest.fixture(scope="module")
def desk(stub: Stub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A farm with two workers of the stub compiler, for all tests of a module."""
    folder: Path = tmp_path_factory.mktemp("farm")
    (folder / "policy.toml").write_text(POLICY)
    with farm(
        folder,
        ["stub"],
        compilers=[stub.folder],
        TINYMLAAS_POLICY=str(folder / "policy.toml"),
        TINYMLAAS_JOB_MEMORY="1GiB",
    ) as running:
        running.worker("stub")
        running.await_ready()
        made = Desk(running)
        try:
            yield made
        finally:
            made.close()
