"""Boards and compilers on a terminal of 80 columns: no name is broken."""

from tests.unit.cli.test_render import shown
from tests.unit.scheduler.facts import compiler
from tinymlaas.boards import catalog
from tinymlaas.render_catalog import boards, compilers


def test_boards_are_named_whole(monkeypatch) -> None:
    profiles = catalog.all_boards()
    lines = shown(monkeypatch, boards(profiles)).splitlines()
    for profile in profiles:
        (line,) = [line for line in lines if line.split()[:1] == [profile.name]]
        simulator = (profile.simulator or "–").partition("-atmega")[0]
        named = [*profile.mcu.split(), profile.core.value]
        assert line.split()[1 : 1 + len(named)] == named
        assert line.split()[-1] == simulator


def test_compilers_are_named_whole(monkeypatch) -> None:
    one = compiler("cmsis-nn")
    text = shown(monkeypatch, compilers([(one, "built in")], {"tvm": "it is not there"}))
    words = text.replace(",", " ").split()
    assert {"cmsis-nn", *one.kernels, *(core.value for core in one.cores)} <= set(words)
    assert "tvm: cannot be used: it is not there" in text
