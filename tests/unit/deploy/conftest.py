"""The repository's overlays, rendered once for all tests here."""

import copy

import pytest

from deploy.check import render
from deploy.check.model import Overlay


@pytest.fixture(scope="session")
def rendered() -> dict[str, Overlay]:
    """All overlays by name; not to be changed."""
    return {each.name: each for each in render.render_all(render.overlays())}


@pytest.fixture
def overlay(rendered):
    """A function that returns an overlay whose objects may be changed."""

    def copied(name: str) -> Overlay:
        found = rendered[name]
        return Overlay(name, copy.deepcopy(found.objects), found.pinned, found.closed)

    return copied
