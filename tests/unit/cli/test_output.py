import io
import json

import pytest
from rich.console import Console

from tinymlaas.boards.catalog import BoardList
from tinymlaas.cli_options import Output


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
