"""What dies is started again; what is released is not."""

from __future__ import annotations

import threading

from tests.integration.broker.helpers import until
from tinymlaas.contract.errors import Failure
from tinymlaas.farm.keeping import Keeper


class Mortal:
    name = "mortal"

    def __init__(self, refusals: int = 0) -> None:
        self.running = True
        self.started = 0
        self.refusals = refusals
        self.lock = threading.Lock()

    def start(self) -> None:
        self.started += 1
        if self.started <= self.refusals:
            raise Failure("it does not start")
        self.running = True

    def how_it_ended(self) -> str:
        return "was killed by SIGKILL"


def test_what_dies_is_started_again_and_told() -> None:
    said: list[str] = []
    mortal = Mortal()
    keeper = Keeper(mortal, said.append)
    for number in (1, 2):
        mortal.running = False
        until(lambda number=number: mortal.running and mortal.started == number)
    keeper.release()
    assert said == ["mortal was killed by SIGKILL; starting it again"] * 2


def test_who_cannot_be_started_is_tried_again() -> None:
    said: list[str] = []
    mortal = Mortal(refusals=2)
    keeper = Keeper(mortal, said.append)
    mortal.running = False
    until(lambda: mortal.running)
    keeper.release()
    assert mortal.started == 3
    assert said.count("mortal: it does not start") == 2


def test_what_is_released_may_end() -> None:
    mortal = Mortal()
    keeper = Keeper(mortal, lambda _: None)
    keeper.release()
    mortal.running = False
    assert not keeper._thread.is_alive()
    assert mortal.started == 0
