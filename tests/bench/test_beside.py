"""What rspamd is told, and how its answers are read."""

from __future__ import annotations

import asyncio

import pytest

from bench import beside
from gatekeeper.bench.letters import Letter

LETTER = Letter("198.18.0.1", "c.bench.example", "sender@d1.bench.example", b"Subject: x\r\n\r\n..dot\r\n.\r\n")


def answer(text: bytes) -> tuple[bool, bytes]:
    async def read() -> tuple[bool, bytes]:
        reader = asyncio.StreamReader()
        reader.feed_data(text)
        reader.feed_eof()
        return await beside._answer(reader)

    return asyncio.run(read())


def test_a_question_has_the_message_itself_and_who_brought_it():
    head, _, text = beside.question(LETTER).partition(b"\r\n\r\n")
    assert text == b"Subject: x\r\n\r\n.dot\r\n"
    assert {b"IP: 198.18.0.1", b"From: sender@d1.bench.example", b"Content-Length: 20"} <= {*head.split(b"\r\n")}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", (True, b"{}")),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", (False, b"{}")),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}", (False, b"")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n{}", (False, b"")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", (False, b"")),
    ],
)
def test_an_answer_is_read_as_far_as_it_says(text: bytes, wanted: tuple[bool, bytes]):
    assert answer(text) == wanted


def test_an_answer_that_ends_early_is_an_error_that_the_generator_counts():
    with pytest.raises(EOFError):
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"action":"no action"}', ""),
        (b'{"action": "reject"}', "rspamd says reject"),
        (b"{}", "rspamd gave no verdict"),
        (b"", "rspamd gave no verdict"),
    ],
)
def test_only_mail_that_may_pass_counts(text: bytes, why: str):
    assert beside.wrong(text) == why


def test_the_lists_of_the_internet_are_found_in_debians_configuration():
    text = 'rbl {\n  rbls {\n    spamhaus {\n      returncodes {\n      }\n    }\n    "DBL" {\n    }\n  }\n}\n'
    assert beside.stock_lists(text) == ["spamhaus", "DBL"]
