"""What several commands take and say alike."""

from datetime import datetime

import pytest
import typer

from gatekeeper.cli import options
from tests.support.closed import closed_to_us
from tests.support.command_line import gatekeeper as call

NOW = 1_700_000_000.0


@pytest.mark.parametrize(("text", "ago"), [("2h", 7200), ("90s", 90), ("1d", 86400), ("1.5m", 90)])
def test_a_duration_is_a_moment_so_long_ago(text, ago):
    assert options.moment(text, now=NOW) == NOW - ago


@pytest.mark.parametrize("text", ["2026-11-02", "2026-11-02T10:30", "2026-11-02 10:30:15"])
def test_a_date_is_a_moment_in_local_time(text):
    assert options.moment(text, now=NOW) == datetime.fromisoformat(text).timestamp()


def test_a_date_with_a_zone_is_a_moment_there():
    assert options.moment("2026-11-02T10:30:00+02:00", now=NOW) == 1793608200.0


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "2026-13-01", "-2h", "2h\n"])
def test_what_is_no_moment_is_refused_with_the_mend(text):
    with pytest.raises(typer.BadParameter, match="write"):
        options.moment(text, now=NOW)


def test_a_mistake_ends_with_sentences_and_status_2(capsys):
    with pytest.raises(typer.Exit) as end:
        options.fail("first", "second")
    assert end.value.exit_code == 2
    assert capsys.readouterr().err == "first\nsecond\n"


@pytest.mark.parametrize("command", [["records"], ["lists", "show"], ["report", "dmarc"]], ids=" ".join)
def test_a_store_that_is_closed_to_who_calls_is_one_sentence(tmp_path, monkeypatch, command):
    closed_to_us(tmp_path / "closed", monkeypatch)
    file = tmp_path / "gatekeeper.toml"
    file.write_text(
        f'hostname = "mx.example.org"\n[store]\nurl = "sqlite:{tmp_path}/closed/state.db"\n'
        '[complaints.dmarc]\nemail = "reports@example.org"\nrelay = "smtp://127.0.0.1:9"\n'
    )
    ended = call(*command, "-c", str(file))
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == f"{tmp_path}/closed/state.db cannot be read by you: run this as root or as the service's user\n"
