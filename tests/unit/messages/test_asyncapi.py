"""asyncapi.yaml says what the code does: the topology's names, the messages' types and schemas."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import yaml

from broker.topology import (
    CANCEL_KEY,
    COMPILE_KEY,
    OUTCOME_KEY,
    SEEN_KEY,
    STATUS_KEY,
    Names,
    sent_by,
)
from scripts.schemas import SCHEMAS
from tests.unit.scaffold.project import ROOT
from tests.unit.scheduler.world import World, request
from tinymlaas.contract.messages import Event, JobState
from tinymlaas.contract.pool_messages import TaskStatus

API = yaml.safe_load((ROOT / "asyncapi.yaml").read_text())
MESSAGES = API["components"]["messages"]
EVENTS = {n: m for n, m in SCHEMAS.items() if issubclass(m, Event)}


def payload(name: str) -> dict:
    return json.loads((ROOT / MESSAGES[name]["payload"]["$ref"]).read_text())


def test_every_event_is_described_with_its_type_and_schema() -> None:
    assert {f"event-{name}" for name in MESSAGES} == set(EVENTS)
    for name, message in MESSAGES.items():
        event = EVENTS[f"event-{name}"]
        assert message["name"] == event.TYPE
        assert payload(name)["properties"]["type"]["const"] == event.TYPE


def test_every_message_has_a_channel_and_every_channel_an_operation() -> None:
    used = [ref["$ref"] for c in API["channels"].values() for ref in c["messages"].values()]
    assert sorted(used) == sorted(f"#/components/messages/{name}" for name in MESSAGES)
    channels = [each["channel"]["$ref"] for each in API["operations"].values()]
    assert sorted(channels) == sorted(f"#/channels/{name}" for name in API["channels"])


def test_addresses_are_the_topologys() -> None:
    names, channels = Names(), API["channels"]
    addresses = {name: channel["address"] for name, channel in channels.items()}
    assert addresses["requests"] == sent_by("{tenant}", COMPILE_KEY)
    assert addresses["cancels"] == sent_by("{tenant}", CANCEL_KEY)
    assert addresses["questions"] == sent_by("{tenant}", STATUS_KEY)
    assert addresses["outcomes"] == sent_by("{pool}", OUTCOME_KEY)
    assert addresses["seen"] == sent_by("{pool}", SEEN_KEY)
    assert addresses["tasks"].format(pool="tvm") == names.pool("tvm")
    exchanges = {
        name: channel["bindings"]["amqp"]["exchange"]["name"]
        for name, channel in channels.items()
        if channel["bindings"]["amqp"]["is"] == "routingKey"
    }
    assert exchanges == {
        "requests": names.requests,
        "cancels": names.requests,
        "questions": names.requests,
        "results": names.results,
        "kills": names.kills,
        "outcomes": names.workers,
        "seen": names.workers,
    }
    assert channels["results"]["parameters"]["state"]["enum"] == [s.value for s in JobState]


@pytest.mark.parametrize("inspected", [True, False])
def test_what_the_scheduler_really_says_fits_its_schema(inspected: bool) -> None:
    world = World(inspected=inspected)
    world.submit(request("a", "1"))
    world.run(until=0.5)
    world.end(world.workers[0 if inspected else 1], TaskStatus.FAILED, reasons=("no",))
    world.run()
    tasks = [task.model_dump(mode="json") for _, _, task in world.started]
    assert tasks
    jsonschema.validate({**_envelope("task"), "data": tasks[0]}, payload("task"))
    for event in world.events:
        jsonschema.validate(json.loads(event.encoded()), payload("job-ended"))
    for _, event in world.replies:
        jsonschema.validate(json.loads(event.encoded()), payload("job-state"))


def _envelope(name: str) -> dict:
    return {"specversion": "1.0", "id": "x", "source": "x", "type": MESSAGES[name]["name"]}


def test_references_lead_into_the_file() -> None:
    for ref in re.findall(r"\$ref: '#/([^']+)'", (ROOT / "asyncapi.yaml").read_text()):
        found = API
        for part in ref.split("/"):
            found = found[part]
        assert found
