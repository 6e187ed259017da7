"""The demonstration from its start to its table, and that it harms nobody's files."""

import dataclasses
import io
import re
import smtplib

import pytest
from rich.console import Console

from gatekeeper.demo import play, scenes
from gatekeeper.model import Contribution, Reply, Thresholds
from gatekeeper.records.document import ClientFacts, Decision, Record

SCENE = scenes.Scene(
    "a title [bold]as it is[/bold]", "198.51.100.77", "", "harvest.bulk.example", lambda _: "", "a@b.example"
)


def record(action: str = "reject", *contributions: Contribution, decided_by: str | None = None) -> Record:
    decision = Decision(
        action=action,
        millis=sum(c.millis for c in contributions),
        thresholds=Thresholds(5000, 10000),
        contributions=contributions,
        decided_by=decided_by,
    )
    return Record(
        id="2Q0745CZM54SRB",
        time=0.0,
        duration=0.0,
        server="smtp",
        session="s",
        client=ClientFacts(address="192.0.2.1"),
        action=action,
        reply=Reply.of(550, "5.7.1 no"),
        decision=decision,
    )


def shown(*played: play.Played, columns: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=columns, color_system=None).print(play.table(played, columns=columns))
    return out.getvalue()


def test_a_table_of_80_columns_breaks_no_name():
    played = play.Played(
        SCENE, f"550 5.1.1 <nobody@{scenes.DOMAIN}>: no", record("drop", decided_by="STACKING_BLOCKED")
    )
    text = shown(played)
    assert max(map(len, text.splitlines())) <= 80
    for whole in ("harvest.bulk.example", "198.51.100.77", f"<nobody@{scenes.DOMAIN}>:"):
        assert whole in text


def test_what_weighs_or_decides_is_the_reason():
    heavy, light = Contribution("SPF_FAIL", 3000), Contribution("SPF_PASS", 0)
    assert "SPF_FAIL 3" in shown(play.Played(SCENE, "", record("tag", heavy, light)), columns=200)
    assert "SPF_PASS" not in shown(play.Played(SCENE, "", record("tag", heavy, light)), columns=200)
    one = record("drop", Contribution("STACKING_BLOCKED", 0), heavy, decided_by="STACKING_BLOCKED")
    assert "STACKING_BLOCKED 0, SPF_FAIL 3 = 3" in shown(play.Played(SCENE, "", one), columns=300)


def test_who_refused_is_said():
    behind = dataclasses.replace(record(), decision=None)
    for one, words in ((None, ("nothing", "told")), (behind, ("refused", "behind", "us"))):
        text = shown(play.Played(SCENE, "550 x", one))
        assert all(f" {word} " in text for word in words)


def test_markup_in_an_answer_is_only_text():
    assert "[red]x[/red]" in shown(play.Played(SCENE, "550 [red]x[/red]", None), columns=200)


def test_an_earlier_demonstration_is_forgotten_but_for_its_mail(tmp_path):
    (tmp_path / "gatekeeper.toml").write_text(f"{play.WRITTEN_BY}; more\n")
    for name in ("state.db", "state.db-wal", "gatekeeper.log", "mine.txt"):
        (tmp_path / name).touch()
    (tmp_path / "Maildir").mkdir()
    play.begin_anew(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Maildir", "mine.txt"]


@pytest.mark.parametrize("files", [{"gatekeeper.toml": "hostname = 'mx'"}, {"state.db": ""}, {"gatekeeper.log": ""}])
def test_the_files_of_another_gatekeeper_are_left_alone(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(FileExistsError, match="--directory"):
        play.begin_anew(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


@pytest.mark.slow
def test_it_plays_twice_in_one_directory_and_shows_the_same(tmp_path):
    tables = []
    for _ in range(2):
        out = io.StringIO()
        console = Console(file=out, width=200, color_system=None)
        assert play.run(tmp_path, smtp_port=0, http_port=0, stay=False, console=console) == 0
        table, _, rest = out.getvalue().partition("\nSMTP")
        tables.append(re.sub(r"\b2[0-9A-Z]{13}\b", "the-record's-id", table))
    assert [line.split() for line in tables[0].splitlines()] == [line.split() for line in tables[1].splitlines()]
    text = tables[0]
    for answer in ("250 2.0.0 Ok: queued as DEMO1", "│ tag ", "│ reject ", "252 2.", "slowed", "421 4.7.1"):
        assert answer in text
    assert "gatekeeper explain ID" in rest
    assert len(list((tmp_path / "Maildir" / "new").iterdir())) == 4
    tagged = [p.read_text() for p in (tmp_path / "Maildir" / "new").iterdir() if "X-Spam-Flag: YES" in p.read_text()]
    assert len(tagged) == 2
    assert all("Subject: [SPAM] Three for two" in one for one in tagged)


def test_a_client_that_is_turned_away_at_once_is_shown_so(monkeypatch):
    def turned_away(*_args, **_options):
        raise smtplib.SMTPConnectError(421, b"4.7.1 not now")

    monkeypatch.setattr(smtplib, "SMTP", turned_away)
    assert play._play(SCENE, 25) == "421 4.7.1 not now"


def test_a_port_that_is_taken_is_replaced_by_a_free_one():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert play._port(port) not in {port, 0}
