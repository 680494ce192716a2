"""Limits of steps as settings."""

from __future__ import annotations

import pytest

from tinymlaas.contract.errors import UsageError
from workers.sandbox import Step
from workers.sandbox.limits import DEFAULTS, at_most, parse


def test_every_step_has_limits() -> None:
    assert set(DEFAULTS) == set(Step)
    assert parse("") == dict(DEFAULTS)


def test_a_limit_is_changed_and_no_other() -> None:
    found = parse(" compile.memory=2GiB , simulate.seconds=900,")
    assert found[Step.COMPILE].memory == 2 << 30
    assert found[Step.COMPILE].files == DEFAULTS[Step.COMPILE].files
    assert found[Step.SIMULATE].seconds == 900
    assert found[Step.LINK] == DEFAULTS[Step.LINK]


def test_all_mistakes_are_told() -> None:
    with pytest.raises(UsageError) as caught:
        parse("compile=1,brew.memory=1GiB,link.sugar=1,link.memory=x,link.memory=1,link.seconds=0")
    reasons = caught.value.reasons
    assert len(reasons) == 6
    assert all(reason.startswith("TINYMLAAS_SANDBOX_LIMITS: '") for reason in reasons)


def test_nothing_gets_more_than_the_machine_gives() -> None:
    found = at_most(DEFAULTS, 1 << 30)
    assert {each.memory for each in found.values()} == {1 << 30}
    assert at_most(DEFAULTS, None) == dict(DEFAULTS)
