"""A farm in pods, for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.pods.farm import Farm, opened
from workers import guardian

FEW = frozenset({"rabbitmq", "seaweedfs", "scheduler", "worker-prepare", "worker-tvm"})


@pytest.fixture(
    scope="module",
    params=[pytest.param(FEW, id="few"), pytest.param(None, id="all", marks=pytest.mark.slow)],
)
def farm(request: pytest.FixtureRequest) -> Iterator[Farm]:
    """The pods of the overlay `dev`: those that a job for TVM needs, or all."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces with links between them, volumes of a group")
    with guardian.scratch("test-pods") as folder, opened(folder, "dev", request.param) as running:
        yield running
