"""What the messages say, and that others can write and read them by their schemas."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import jsonschema
import pytest
from pydantic import ValidationError

from scripts.schemas import FOLDER
from tests.unit.messages.malformed import MODEL, sound
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.messages import (
    MAX_INLINE,
    CompileRequested,
    JobEnd,
    JobEnded,
    JobState,
    Payload,
    routing_key,
)
from tinymlaas.contract.wire import parse


def schema(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        json.loads((FOLDER / f"event-{name}.schema.json").read_text())
    )


def test_a_request_written_by_hand_is_read_and_fits_its_schema() -> None:
    text = f"""{{
      "specversion": "1.0", "type": "tinymlaas.compile.request.v1",
      "id": "job-7", "source": "https://shop.example/cart",
      "time": "2026-01-02T03:04:05Z", "datacontenttype": "application/json",
      "traceparent": "00-{"a" * 32}-{"b" * 16}-01", "comexampleregion": "eu",
      "data": {{
        "tenant": "acme", "board": "nucleo-l4r5zi", "objective": "flash", "priority": 9,
        "model": {{"digest": "{sha256(MODEL)}", "inline": "YSBtb2RlbA=="}},
        "shapes": {{"x": [1, 2]}}, "deadline": "2026-01-02T04:00:00+01:00",
        "reply": "reply.cart.1"
      }}
    }}"""
    found = parse(text.encode(), CompileRequested)
    assert found.data.model.content() == MODEL
    assert found.data.deadline == datetime(2026, 1, 2, 3, tzinfo=UTC)
    assert found.data.shapes == {"x": (1, 2)}
    schema("compile").validate(json.loads(text))
    schema("compile").validate(json.loads(found.encoded()))


def test_a_message_comes_back_as_it_was_sent() -> None:
    sent = sound(shapes={"x": (1, 2)}, options={"align": "4"}, priority=0)
    assert parse(sent.encoded(), CompileRequested) == sent


@pytest.mark.parametrize(
    ("size", "inline"), [(1, True), (MAX_INLINE, True), (MAX_INLINE + 1, False)]
)
def test_only_small_files_travel_inside(size: int, inline: bool) -> None:
    payload = Payload.of(b"m" * size, "acme")
    assert (payload.inline is not None) is inline
    if not inline:
        assert payload.reference == f"tenants/acme/blobs/{payload.digest}"
    assert len(sound(model=payload).encoded()) < 70_000


def test_by_reference_nothing_is_left_inside() -> None:
    order = sound(calibration={"samples": Payload.of(b"s", "acme")}).data.by_reference()
    assert [p.inline for p in order.payloads()] == [None, None]
    assert order.model.reference == f"tenants/acme/blobs/{sha256(MODEL)}"
    again = sound().model_copy(update={"data": order})
    assert parse(again.encoded(), CompileRequested) == again


def test_which_states_are_for_good() -> None:
    unfinished = {state for state in JobState if not state.final}
    assert unfinished == {JobState.QUEUED, JobState.PLANNING, JobState.COMPILING}


def test_a_result_fits_its_schema() -> None:
    end = JobEnd(tenant="acme", job_id="job-1", state=JobState.REJECTED, reasons=("no",))
    event = JobEnded(id="e", source="tinymlaas/scheduler", data=end)
    schema("job-ended").validate(json.loads(event.encoded()))
    assert routing_key("acme", "job-1", end.state) == "acme.job-1.rejected"


def test_data_is_closed() -> None:
    with pytest.raises(ValidationError):
        sound(surprise=1)
