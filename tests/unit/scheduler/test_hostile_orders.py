"""Orders that are well formed and mean harm: whoever plans them must live."""

from __future__ import annotations

import json

import pytest

from tests.unit.scheduler.world import World, board, request
from tinymlaas.contract.messages import JobState


@pytest.mark.parametrize("key", ["origin", "length"])
@pytest.mark.parametrize("number", [(1 << 64) + 1, 10**310, 10**4000])
def test_memory_of_a_size_that_nobody_can_reckon_with_is_refused(key: str, number: int) -> None:
    device = board("board").model_dump(mode="json", exclude_none=True)
    device["memory"][0][key] = number
    message = json.loads(request("a", "1", board=None, device=board("board")).encoded())
    message["data"] = {k: v for k, v in message["data"].items() if v is not None}
    message["data"]["device"] = device
    world = World()
    world.submit(json.dumps(message).encode(), reply_to="reply.me")
    world.submit(request("a", "2"))
    world.run()
    (refusal,) = [event.data for reply, event in world.replies if reply == "reply.me"]
    assert refusal.state is JobState.REJECTED
    assert f"memory.0.{key}" in refusal.reasons[0]
    assert [event.data.state for event in world.events] == [JobState.DONE]
