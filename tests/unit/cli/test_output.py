import io
import json

import pytest
from rich.console import Console
from rich.progress import Progress as Bar

from tinymlaas.boards.catalog import BoardList
from tinymlaas.cli_options import Output, _Spinners
from tinymlaas.contract.progress import Named, OnBoard


def output(terminal: bool, as_json: bool = False) -> tuple[Output, io.StringIO]:
    said = io.StringIO()
    err = Console(file=said, force_terminal=terminal, markup=False, highlight=False)
    return Output(Console(file=io.StringIO()), err, as_json), said


@pytest.mark.parametrize(("terminal", "kind"), [(True, "xterm"), (True, "dumb"), (False, "xterm")])
def test_progress_names_candidates_as_they_are(
    terminal: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", kind)
    shown, said = output(terminal)
    with shown.progress() as progress:
        progress.stage("cc/[/red]", "compiling")
    assert "cc/[/red]" in said.getvalue()
    assert "compiling" in said.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_what_has_ended_says_how_and_is_counted(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown, said = output(terminal)
    with shown.progress() as progress:
        progress.stage("model", "inspecting")
        progress.end("model", "inspected")
        progress.expect(["cc latency", "cc flash"])
        Named(progress, "cc latency").stage("cc", "linking")
        progress.end("cc latency", "verified, in the store")
        progress.end("cc flash", "rejected")
        OnBoard(progress, "microbit").expect(["cc"])
        OnBoard(progress, "microbit").end("cc", "verified")
    text = said.getvalue()
    for part in ("cc latency", "verified, in the store", "microbit: cc", "3 of 3"):
        assert part in text
    if terminal:
        assert "✓" in text
        assert "✗" in text


def test_a_clock_stops_with_its_stage_and_old_rows_make_room() -> None:
    clock = [0.0]
    bar = Bar(console=Console(file=io.StringIO()), get_time=lambda: clock[0])
    spinners = _Spinners(bar)
    for name in map(str, range(15)):
        spinners.stage(name, "compiling")
        clock[0] += 1
        spinners.end(name, "verified")
    clock[0] += 100
    assert {task.finished_time for task in bar.tasks} == {1.0}
    assert sum(task.visible for task in bar.tasks) == 10


def test_progress_is_silent_where_json_is_wanted_and_nobody_watches() -> None:
    shown, said = output(terminal=False, as_json=True)
    with shown.progress() as progress:
        progress.stage("cc", "compiling")
    assert said.getvalue() == ""


def test_json_is_ascii_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    from tinymlaas.boards import catalog

    board = catalog.get("microbit").model_copy(update={"title": "µ → ✓"})
    output(terminal=False, as_json=True)[0].json(BoardList(boards=(board,)))
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text)["boards"][0]["title"] == "µ → ✓"
