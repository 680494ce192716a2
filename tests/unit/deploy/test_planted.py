"""Each mistake that somebody may make in a manifest is caught, at its place and with a reason."""

import pytest

from deploy.check.__main__ import check
from tests.unit.deploy.planted_others import OTHERS
from tests.unit.deploy.planted_pods import PODS
from tests.unit.deploy.planted_settings import SETTINGS

PLANTED = {**PODS, **SETTINGS, **OTHERS}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_caught(overlay, mistake):
    name, plant, where, field, said = PLANTED[mistake]
    changed = overlay(name)
    plant(changed)
    found = check(changed)
    hits = [f for f in found if where in f.object and field in f.field and said in f.said]
    assert hits, [each.line() for each in found]
    assert all(each.overlay == name for each in hits)
