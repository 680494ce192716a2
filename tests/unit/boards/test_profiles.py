"""The boards shipped: sound, enough of them, and what the service stands on."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tinymlaas.boards import catalog
from tinymlaas.boards.check import check_file
from tinymlaas.boards.simulators import machines_of
from tinymlaas.contract.device import Core, DeviceProfile, MemoryKind
from tinymlaas.contract.errors import InvalidBoard, UnknownBoard
from workers.verify import machines

SIMULATED = {"mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547"}
ALL = catalog.all_boards()
REAL = [board for board in ALL if board.name not in SIMULATED | {"host"}]


def named(boards: Iterable[DeviceProfile]) -> list[object]:
    return [pytest.param(board, id=board.name) for board in boards]


@pytest.mark.parametrize("name", catalog.names())
def test_every_profile_is_sound(name: str) -> None:
    assert check_file(catalog.PROFILES / f"{name}.toml") == []


def test_nothing_else_lies_among_the_profiles() -> None:
    found = {path.name for path in catalog.PROFILES.iterdir()}
    assert found == {f"{name}.toml" for name in catalog.names()}


def test_there_are_real_boards_for_every_core() -> None:
    assert len(REAL) >= 22
    assert {board.core for board in REAL} == set(Core) - {Core.HOST}
    assert {"nucleo-l4r5zi", "microbit"} <= {board.name for board in REAL}
    assert SIMULATED | {"host"} <= set(catalog.names())


@pytest.mark.parametrize("board", named(REAL))
def test_a_real_board_is_described_in_full(board: DeviceProfile) -> None:
    assert board.clock_hz
    assert board.peripherals
    assert "gpio" in board.peripherals
    capability = board.capability_class()
    for kind in MemoryKind:
        assert capability.capacity(kind)


@pytest.mark.parametrize("board", named(ALL))
def test_lists_hold_nothing_twice(board: DeviceProfile) -> None:
    for values in (board.peripherals, board.rtoses):
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("board", named(ALL))
def test_the_simulator_is_the_one_a_module_would_run_on(board: DeviceProfile) -> None:
    nearest = next(iter(machines.machines_for(board.capability_class())), None)
    expected = "host" if board.core is Core.HOST else nearest and nearest.name
    assert board.simulator == expected


@pytest.mark.parametrize("core", list(Core))
def test_the_machines_known_here_are_those_modules_run_on(core: Core) -> None:
    boards = [board for board in ALL if board.core is core]
    run_on = {
        machine.name
        for board in boards
        for machine in machines.machines_for(board.capability_class())
    }
    assert set(machines_of(core)) - {"host"} == run_on


def test_the_reference_board_has_the_facts_of_its_datasheet() -> None:
    board = catalog.get("nucleo-l4r5zi")
    assert (board.core, board.fpu, board.dsp, board.clock_hz) == (
        Core.CORTEX_M4,
        "single",
        True,
        120_000_000,
    )
    capability = board.capability_class()
    assert capability.capacity(MemoryKind.FLASH) == 2 << 20
    assert capability.capacity(MemoryKind.RAM) == 640 << 10


def test_the_host_has_no_limit() -> None:
    assert catalog.get("host").capability_class().capacity(MemoryKind.RAM) is None


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownBoard) as error:
        catalog.get("nucleo-l4r5z")
    assert len(error.value.reasons) == 1
    assert "did you mean nucleo-l4r5zi" in error.value.reasons[0]
    assert "tinymlaas boards" in error.value.reasons[0]


def test_a_name_like_none_suggests_nothing() -> None:
    with pytest.raises(UnknownBoard) as error:
        catalog.get("xxxxxxxxxxxxxxx")
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize("name", ["../profiles/host", "host.toml/", "", "HOST "])
def test_a_name_is_never_a_path(name: str) -> None:
    with pytest.raises(UnknownBoard):
        catalog.get(name)


def test_a_file_of_the_user_s_is_a_board(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((catalog.PROFILES / "rpi-pico.toml").read_text())
    assert catalog.get(str(path)) == catalog.get("rpi-pico")


def test_a_missing_file_is_an_unknown_board(tmp_path) -> None:
    with pytest.raises(UnknownBoard, match="No such file"):
        catalog.get(str(tmp_path / "none.toml"))


def test_a_wrong_file_is_refused_with_all_reasons(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    text = (catalog.PROFILES / "rpi-pico.toml").read_text()
    path.write_text(text.replace("133_000_000", "0").replace("https://", "http://"))
    with pytest.raises(InvalidBoard) as error:
        catalog.get(str(path))
    assert len(error.value.reasons) == 2
    assert all(reason.startswith(f"{path}:") for reason in error.value.reasons)


def test_a_shipped_profile_is_read_once() -> None:
    assert catalog.get("rpi-pico") is catalog.get("rpi-pico")
    catalog.names().clear()
    assert "rpi-pico" in catalog.names()
