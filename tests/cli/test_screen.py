"""Text on the operator's screen."""

import time
from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from gatekeeper.cli import screen


def _shown(value: object) -> str:
    console = Console(file=StringIO(), width=200, force_terminal=True, color_system="truecolor")
    table = Table()
    table.add_column("a")
    table.add_row(screen.text(value))
    console.print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_strangers_control_characters_are_shown_and_not_obeyed():
    assert "\\x1b]0;owned\\x07" in _shown("\x1b]0;owned\x07")


def test_a_strangers_markup_is_only_text():
    assert "[red]x[/red] :boom:" in _shown("[red]x[/red] :boom:")


def test_a_line_end_stays_in_its_cell():
    assert "a\\nb" in _shown("a\nb")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("seconds", [253402300799.0, 1e15, 1e300])
def test_a_time_beyond_all_years_is_shown_as_such(monkeypatch, zone, seconds):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert screen.local_time(seconds)[:10] in {"after 9998", "9999-12-31"}
        assert screen.local_time(0.0).startswith("19")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_every_action_has_its_colour():
    from gatekeeper.model import Action

    assert set(screen.STYLES) == {action.word for action in Action}
    assert screen.action("reject").style == "red"
    assert screen.action("unheard of").style == ""


def test_where_nobody_looks_a_line_stays_one_line(capsys):
    screen.console().print(screen.text("x" * 300))
    assert capsys.readouterr().out == "x" * 300 + "\n"
