"""When a worker whose consumer stands still gives up."""

from __future__ import annotations

from tinymlaas.farm.patience import Patience


def test_only_what_stands_still_while_the_broker_is_there_is_stuck() -> None:
    patience = Patience(60)
    assert not any(patience.stuck(now, True, now - 1) for now in range(200))
    assert not any(patience.stuck(now, False, 200) for now in range(200, 400))
    found = [now for now in range(400, 500) if patience.stuck(now, True, 200)]
    assert found[0] == 461
    assert patience.is_stuck
    assert not patience.stuck(500, True, 500)


def test_who_stood_still_itself_blames_nobody() -> None:
    patience = Patience(60)
    assert not patience.stuck(0, True, 0)
    assert not patience.stuck(300, True, 0)
    assert not patience.stuck(301, True, 0)
    assert patience.stuck(310, True, 0) is False
