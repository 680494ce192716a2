"""Whatever arrives is a message or one line that says why not."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.messages.malformed import kinds, sound
from tinymlaas.contract.messages import CompileRequested
from tinymlaas.contract.wire import MAX_BYTES, MalformedMessage, loads, parse

MALFORMED = kinds()


def test_there_are_a_thousand_kinds_of_malformed_messages() -> None:
    assert len(MALFORMED) >= 1000


def test_each_malformed_message_is_refused_in_one_short_line() -> None:
    taken = []
    for what, data in MALFORMED:
        try:
            parse(data, CompileRequested)
        except MalformedMessage as error:
            (reason,) = error.reasons
            assert reason
            assert reason.isprintable(), what
            assert len(reason) < 1000, what
        else:
            taken.append(what)
    assert not taken


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("priority", 10, "data.priority: Input should be less than or equal to 9"),
        ("tenant", "A", "data.tenant: String should match pattern"),
        ("device", None, ""),
        ("surprise", 1, "data.surprise: Extra inputs are not permitted"),
        ("model", {"digest": "0" * 64}, "data.model: give either reference or inline"),
        (
            "model",
            {"digest": "0" * 64, "reference": "tenants/b/blobs/" + "0" * 64},
            "data: a reference must be tenants/acme/blobs/ and the digest",
        ),
    ],
)
def test_the_reason_names_the_place(place: str, value: object, reason: str) -> None:
    message = json.loads(sound().encoded())
    message["data"][place] = value
    if not reason:
        parse(json.dumps(message).encode(), CompileRequested)
        return
    with pytest.raises(MalformedMessage) as refused:
        parse(json.dumps(message).encode(), CompileRequested)
    assert refused.value.reasons[0].startswith(reason)


def test_what_is_too_large_is_not_even_read() -> None:
    with pytest.raises(MalformedMessage, match="262,145 bytes; up to 262,144 are taken"):
        loads(b" " * (MAX_BYTES + 1))


def test_depth_is_counted_in_containers() -> None:
    assert loads(b"[" * 24 + b"]" * 24)
    with pytest.raises(MalformedMessage, match="nested more than 24 levels"):
        loads(b"[" * 25 + b"]" * 25)
    assert loads(b"{}") == {}
    assert loads(b"3") == 3


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse(data, CompileRequested)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=50)
@given(st.sampled_from(["tenant", "model", "shapes", "options", "device", "priority"]), JSON)
def test_no_value_in_any_field_raises_anything_else(field: str, value: object) -> None:
    message = json.loads(sound().encoded())
    message["data"][field] = value
    with contextlib.suppress(MalformedMessage):
        parsed = parse(json.dumps(message).encode(), CompileRequested)
        assert parse(parsed.encoded(), CompileRequested) == parsed
