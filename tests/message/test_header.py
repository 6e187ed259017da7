"""The header is read once, and the author only where every reader sees the same."""

import json

import pytest

from gatekeeper.message.header import author_of, date_of, header_of
from gatekeeper.model import BytesBody, Message
from gatekeeper.wire.headers import MOST_FIELDS
from gatekeeper.wire.mailboxes import Ambiguity
from tests.support.corpora import corpora
from tests.support.mail import message_of


def message(header: bytes) -> Message:
    return Message(header, BytesBody(b"text\r\n"))


def test_each_message_is_read_once():
    mail = message(b"From: a@example.com\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\n")
    assert header_of(mail) is header_of(mail)
    assert author_of(mail) is author_of(mail)
    assert date_of(mail) == 880127706


def test_one_clear_author_has_a_domain():
    author = author_of(message(b"From: Ann <a@Example.com>\r\n"))
    assert (author.domain, author.domains, author.ambiguities) == ("example.com", ("example.com",), ())
    assert [mailbox.name for mailbox in author.mailboxes] == ["Ann"]


def test_no_from_field_is_no_author_and_no_doubt():
    author = author_of(message(b"To: a@example.com\r\n"))
    assert (author.mailboxes, author.domain, author.ambiguities) == ((), None, ())
    assert date_of(message(b"")) is None


@pytest.mark.parametrize(
    ("header", "ambiguity", "domains"),
    [
        (
            b"From: a@one.example\r\nFrom: b@two.example\r\n",
            Ambiguity.SEVERAL_FIELDS,
            ("one.example", "two.example"),
        ),
        (b"From: a@one.example\r\nFrom: a@one.example\r\n", Ambiguity.SEVERAL_FIELDS, ("one.example",)),
        (b"From: a@one.example\r\nFrom : b@two.example\r\n", Ambiguity.SEVERAL_FIELDS, ("one.example", "two.example")),
        (b"From: a@one.example\r\nFr\0om: b@two.example\r\n", Ambiguity.SEVERAL_FIELDS, ("one.example", "two.example")),
        (b"From: a@one.example, b@two.example\r\n", Ambiguity.SEVERAL_ADDRESSES, ("one.example", "two.example")),
        (b"From : a@one.example\r\n", Ambiguity.MALFORMED_FIELD, ("one.example",)),
        (b" From: a@one.example\r\n", Ambiguity.MALFORMED_FIELD, ("one.example",)),
        (b"From\r\n : a@one.example\r\n", Ambiguity.MALFORMED_FIELD, ("one.example",)),
        (b"junk\r\nFrom: a@one.example\r\n", Ambiguity.MALFORMED_FIELD, ("one.example",)),
        (b"Subject: x\nFrom: a@one.example\r\n", Ambiguity.MALFORMED_FIELD, ("one.example",)),
        (b"From: <@evil.example:a@one.example>\r\n", Ambiguity.ROUTE, ("one.example",)),
        (b"From: a\0@one.example\r\n", Ambiguity.CONTROL, ()),
        (b"From: " + b"x" * 5000 + b" <a@one.example>\r\n", Ambiguity.TOO_LONG, ()),
    ],
)
def test_a_doubtful_author_has_none(header: bytes, ambiguity: Ambiguity, domains: tuple[str, ...]):
    author = author_of(message(header))
    assert author.domain is None
    assert ambiguity in author.ambiguities
    assert author.domains == domains


@pytest.mark.parametrize(
    "header",
    [
        b"From: a@one.example\r\njunk\r\n",
        b"From sender Mon Jan  1 00:00:00 2024\r\nFrom: a@one.example\r\n",
    ],
)
def test_what_is_malformed_elsewhere_does_not_matter(header: bytes):
    assert author_of(message(header)).domain == "one.example"


def test_an_author_with_more_fields_behind_than_are_read_is_in_doubt():
    header = b"From: a@one.example\r\n" + b"X: y\r\n" * MOST_FIELDS + b"From: b@two.example\r\n"
    author = author_of(message(header))
    assert (author.domain, author.ambiguities) == (None, (Ambiguity.TOO_LONG,))


def test_many_from_fields_are_not_all_read():
    author = author_of(message(b"".join(b"From: a@d%d.example\r\n" % i for i in range(10_000))))
    assert len(author.mailboxes) < 20
    assert author.domain is None


def test_real_mail_is_read_without_exception_and_mostly_without_doubt():
    """Some hundreds of messages of all sources; the clear ones are nearly all of them."""
    root = corpora("corpora")
    with (root / "index.jsonl").open() as lines:
        index = [json.loads(line) for line in lines]
    chosen = index[:: max(1, len(index) // 400)]
    clear = told = 0
    for entry in chosen:
        mail = message_of((root / entry["path"]).read_bytes()[:200_000])
        header = header_of(mail)
        assert b"".join(field.raw for field in header.fields) == mail.header
        author = author_of(mail)
        date_of(mail)
        clear += author.domain is not None
        told += author.domain is None and bool(author.ambiguities or not header.all("from"))
    assert clear + told == len(chosen)
    assert clear > 0.9 * len(chosen)
