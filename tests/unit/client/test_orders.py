"""A client's wish as an order."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymlaas.boards import catalog
from tinymlaas.client.orders import MAX_FILE_BYTES, Wish, order_of
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.messages import MAX_INLINE, CompileOrder
from tinymlaas.contract.quantisation import Activations
from tinymlaas.contract.race import Limits, Race
from tinymlaas.inputs import parse_duration, parse_moment

HOST = Wish(board="host")


def test_small_files_travel_inside_and_large_ones_are_uploaded() -> None:
    order, uploads = order_of("a", b"m" * MAX_INLINE, HOST)
    assert uploads == []
    assert order.model.content() == b"m" * MAX_INLINE
    large = b"m" * (MAX_INLINE + 1)
    wish = Wish(board="host", calibration=b"c" * 10, activations="int16x8")
    order, uploads = order_of("a", large, wish)
    assert uploads == [large]
    assert order.model.reference == f"tenants/a/blobs/{sha256(large)}"
    assert order.calibration is not None
    assert order.calibration.samples.content() == b"c" * 10
    assert order.calibration.activations is Activations.INT16X8
    assert order.float_races
    order, uploads = order_of(
        "a", large, Wish(board="host", calibration=large, quantised_only=True)
    )
    assert uploads == [large, large]
    assert not order.float_races
    with pytest.raises(UsageError, match="--int8 needs samples"):
        order_of("a", large, Wish(board="host", quantised_only=True))


def test_labelled_samples_travel_as_a_model_does() -> None:
    large = b"m" * (MAX_INLINE + 1)
    wish = Wish(board="host", calibration=b"c", data=large, race=Race(limits=Limits(accuracy=0.9)))
    order, uploads = order_of("a", b"m", wish)
    assert uploads == [large]
    assert order.data is not None
    assert order.data.reference == f"tenants/a/blobs/{sha256(large)}"
    assert [each.inline for each in order.by_reference().payloads()] == [None] * 3
    with pytest.raises(UsageError, match="a least accuracy needs labelled samples"):
        order_of("a", b"m", Wish(board="host", race=wish.race))


def test_an_order_may_be_in_a_hurry() -> None:
    order, _ = order_of("a", b"m", Wish(board="host", first=True, budget=30.0))
    assert (order.first, order.budget) == (True, 30.0)
    for budget in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="budget"):
            order_of("a", b"m", Wish(board="host", budget=budget))


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60))
def test_whatever_a_file_is_called_an_order_can_be_made_of_it(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"x{name}"
        file.write_bytes(b"model")
        order, _ = order_of("a", file, HOST)
    assert order.name.isidentifier()
    assert CompileOrder.model_validate_json(order.model_dump_json()) == order


def test_a_board_of_ones_own_travels_whole() -> None:
    device = catalog.get("nucleo-l4r5zi")
    order, _ = order_of("a", b"m", Wish(device=device))
    assert order.device == device
    assert CompileOrder.model_validate_json(order.model_dump_json()) == order


def test_deadlines_have_a_time_zone() -> None:
    now = datetime.now(UTC)
    order, _ = order_of("a", b"m", Wish(board="host", deadline=timedelta(hours=1)))
    assert order.deadline is not None
    assert timedelta(minutes=59) < order.deadline - now < timedelta(minutes=61)
    with pytest.raises(UsageError, match="time zone"):
        order_of("a", b"m", Wish(board="host", deadline=datetime(2030, 1, 1)))


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(), "either board or device"),
        (Wish(board="Not A Board"), "board"),
        (Wish(board="host", name="1x"), "name"),
        (Wish(board="host", compiler="../x"), "compiler"),
        (Wish(board="host", objective="speed"), "objective"),
        (Wish(board="host", priority=-1), "priority"),
        (Wish(board="host", shapes={"x": (0,)}), "shapes"),
        (Wish(board="host", options={"a": "b c"}), "options"),
    ],
)
def test_what_is_malformed_is_named(wish: Wish, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        order_of("a", b"m", wish)
    assert len(error.value.reasons) == 1


def test_files_the_farm_would_not_take_are_not_sent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="larger than"):
        order_of("a", bytes(MAX_FILE_BYTES + 1), HOST)
    with pytest.raises(UsageError, match="cannot read"):
        order_of("a", tmp_path, HOST)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("30d", 2_592_000), ("1w", 604_800)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text, "--x").total_seconds() == seconds
    passed = parse_moment(text, "--x") - datetime.now(UTC)
    assert abs(passed.total_seconds() - seconds) < 60


def test_moments() -> None:
    assert parse_moment("2030-01-02T03:04:05z", "--x") == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    for wrong in ("", "soon", "30", "-1d", "1.5h", "2030-13-01T00:00:00Z", "9" * 7 + "d"):
        with pytest.raises(UsageError, match="--x"):
            parse_moment(wrong, "--x")
    with pytest.raises(UsageError, match="time zone"):
        parse_moment("2030-01-02T03:04:05", "--x")
