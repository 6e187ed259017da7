"""What a mail server hands over for a user: which class, what is in it, and the status it ends with."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gatekeeper.cli import learn_mail
from gatekeeper.cli.learn_mail import Exit
from tests.cli.test_learn import Site
from tests.support.command_line import configuration, with_records
from tests.support.command_line import gatekeeper as call
from tests.support.lessons import OFFER, mail

ANN = "ann@example.org"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def report(*spam: bytes, to: str = "spam@example.org") -> bytes:
    head = f"X-Original-To: {to}\nFrom: <{ANN}>\nSubject: Fwd\nContent-Type: multipart/mixed; boundary=b\n\n"
    parts = [b"\n\nlook", *(b"\nContent-Type: message/rfc822\n\n" + one for one in spam)]
    return head.encode() + b"".join(b"--b" + part + b"\n" for part in parts) + b"--b--\n"


@pytest.mark.parametrize(
    ("to", "options", "word"),
    [
        ("spam@example.org", [], "spam"),
        ("HAM@example.org", [], "ham"),
        ("spam+ann@example.org", [], "spam"),
        ("other@example.org", ["--recipient", "ham@example.org"], "ham"),
    ],
)
def test_the_recipient_says_what_it_is(site, to, options, word):
    ended = site("--mail", "--user", ANN, *options, typed=report(mail(OFFER, 1), mail(OFFER, 2), to=to))
    assert (ended.status, ended.out) == (Exit.OK, f"{word} from {ANN}: 2 learned\n")
    assert {(one["class"], one["kind"]) for one in site.listed("--user", ANN)} == {(word, "site")}


def test_a_recipient_that_says_nothing_is_told(site):
    ended = site("--mail", "--user", ANN, typed=report(mail(OFFER, 1), to="ann@example.org"))
    assert (ended.status, "neither spam@ nor ham@" in ended.err) == (Exit.DATA, True)


def test_the_class_may_be_said_by_the_command(site):
    assert site("ham", "--mail", "--user", ANN, typed=report(mail(OFFER, 1))).out == f"ham from {ANN}: 1 learned\n"


@pytest.mark.parametrize("arguments", [["--mail"], ["spam", "--mail"], ["ham", "--imap"]])
def test_without_a_login_nothing_is_learned(site, arguments):
    ended = site(*arguments, "--user", "", typed=report(mail(OFFER, 1)))
    assert (ended.status, ended.out) == (Exit.OK, "nothing learned: without a login nobody teaches\n")
    assert site.listed() == []


def test_a_mail_that_reports_nothing_is_told_so(site):
    ended = site("--mail", "--user", ANN, typed=report())
    assert (ended.status, "forward the message as an attachment" in ended.err) == (Exit.DATA, True)
    assert site("spam", "--mail", "--user", ANN, typed=b"").status == Exit.DATA


def test_a_moved_message_is_learned_itself_whatever_it_has_attached(site):
    inner = mail(OFFER, 7)
    ended = site("spam", "--imap", "--user", ANN, typed=report(inner))
    assert ended.out == f"spam from {ANN}: 1 learned\n"
    (one,) = site.listed()
    assert one["message_id"] == ""


def test_the_same_message_by_mail_and_by_imap_counts_once(site):
    came = mail(OFFER, 1)
    kept = b"Return-Path: <x@sender.example>\r\nDelivered-To: ann@example.org\r\nX-Spam-Status: No, score=1\r\n" + came
    site("--mail", "--user", ANN, typed=report(kept))
    ended = site("spam", "--imap", "--user", ANN, typed=kept.replace(b"\r\n", b"\n"))
    assert ended.out == f"spam from {ANN}: 1 known\n"


def test_more_than_a_days_messages_are_refused(tmp_path):
    file = with_records(tmp_path, "[classifier.learning]\nper_user_day = 2\n")
    spam = report(*(mail(OFFER, n) for n in range(3)))
    ended = call("learn", "--mail", "--user", ANN, "-c", file, typed=spam)
    assert (ended.status, ended.out) == (Exit.LIMIT, f"spam from {ANN}: 2 learned, 1 limited\n")
    assert "more than 2 messages in 24 hours" in ended.err


def test_a_domain_of_its_own_where_that_is_set(tmp_path):
    file = with_records(tmp_path, "[classifier.learning]\nper_domain = true\n")
    call("learn", "--mail", "--user", "ann@example.net", "-c", file, typed=report(mail(OFFER, 1)))
    call("learn", "--mail", "--user", "bob", "-c", file, typed=report(mail(OFFER, 2)))
    shown = call("learn", "list", "-c", file).out
    assert "example.net" in shown
    assert "example.org" in shown


def test_a_store_that_is_away_leaves_the_mail_in_the_queue(site, monkeypatch):
    monkeypatch.setattr("gatekeeper.store.sqlite_file.PATIENCE", 0.01)
    monkeypatch.setattr("gatekeeper.store.sqlite_file.START_PATIENCE", 0.01)
    with closing(sqlite3.connect(site.directory / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        ended = site("--mail", "--user", ANN, typed=report(mail(OFFER, 1)))
    assert ended.status == Exit.TEMPORARY
    assert site.listed() == []


def test_a_store_that_was_never_made_and_a_wrong_configuration_leave_it_there_too(tmp_path):
    file = configuration(tmp_path)
    assert call("learn", "spam", "--mail", "--user", ANN, "-c", file, typed=report(mail(OFFER, 1))).status == 75
    Path(file).write_text("nonsense")
    assert call("learn", "ham", "--imap", "--user", ANN, "-c", file, typed=mail(OFFER, 1)).status == 75


def test_a_bug_of_ours_bounces_no_mail(site, monkeypatch):
    monkeypatch.setattr(learn_mail, "_delivered_to", lambda _report: 1 / 0)
    ended = site("--mail", "--user", ANN, typed=report(mail(OFFER, 1)))
    assert (ended.status, "ZeroDivisionError" in ended.err) == (Exit.TEMPORARY, True)
