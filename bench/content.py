"""`python -m bench.content`: what reading, rules and the classifier cost for one message, beside rspamd.

CPU in milliseconds, the least of many rounds, for letters of several sizes and shapes. Only content is judged: nobody
asks the DNS or a store, and rspamd (if it is installed) has its modules for that, and its classifier, switched off.
`as if` says what it would be on a machine where Python's own parser takes 0.20 ms for the letter of 10 kB.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import email
import gc
import http.client
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.rspamd import Rspamd, rspamd
from gatekeeper.bench.letters import Writer, new_key
from gatekeeper.classifier.model import shipped_model
from gatekeeper.classifier.traits import traits_of
from gatekeeper.message.content import content_of
from gatekeeper.message.reading import read_message
from gatekeeper.model import Envelope, Mail, Session
from gatekeeper.rules.facts import Surroundings
from gatekeeper.rules.ruleset import Ruleset

AS_IF = 0.20
SMALL = "letter, 10 kB"
NETWORK = [
    *("rbl", "spf", "dkim", "dmarc", "arc", "asn", "fuzzy_check", "greylist", "rspamd_update", "mx_check", "neural"),
    *("phishing", "url_redirector", "ratelimit", "replies", "history_redis", "reputation", "dkim_signing"),
    *("milter_headers", "metadata_exporter", "dcc", "p0f", "spamtrap", "known_senders", "once_received"),
    "hfilter",
]
"""Modules of rspamd's that ask somebody, keep something or answer a mail server."""
HEAD = (
    b"From: Ann <ann@example.net>\r\nTo: bob@example.org\r\nSubject: Figures\r\n"
    b"Date: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.net>\r\nMIME-Version: 1.0\r\n"
)
TEXT = "the message that came this morning was about our meeting, see https://example.net/x or call 555-1234"
ROW = (
    '<tr><td style="padding:4px;color:#333333;font-family:Arial,sans-serif" align="left"><a '
    'href="https://shop.example.net/p/%d?utm=mail" style="text-decoration:none;color:#0055aa">Item %d for the garden'
    "</a></td></tr>\r\n"
)


def shapes() -> Iterator[tuple[str, bytes]]:
    """Messages by name, as they stand in files with CR LF."""
    key = new_key()
    for name, octets in ((SMALL, 10_000), ("letter, 100 kB", 100_000), ("letter, 1 MB", 1_000_000)):
        yield name, Writer(key, octets).letter(1).wire[:-3]
    small = Writer(key, 10_000).letter(1).wire[:-3]
    file = base64.encodebytes(b"%PDF-1.4\n" + random.Random(1).randbytes(730_000)).replace(b"\n", b"\r\n")
    yield (
        "letter and a file, 1 MB",
        HEAD
        + b'Content-Type: multipart/mixed; boundary="mm"\r\n\r\n--mm\r\n'
        + small[small.index(b"Content-Type: multipart") :]
        + b'\r\n--mm\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
        + b'Content-Disposition: attachment; filename="a.pdf"\r\n\r\n'
        + file
        + b"--mm--\r\n",
    )
    dice = random.Random(2)
    lines = [" ".join(dice.choices(TEXT.split(), k=12)) for _ in range(13_500)]
    yield "plain text, 1 MB", HEAD + b"Content-Type: text/plain\r\n\r\n" + "\r\n".join(lines).encode()[:1_000_000]
    rows = "".join(ROW % (number % 400, number) for number in range(4500)).encode()
    yield "a page of links, 1 MB", HEAD + b"Content-Type: text/html\r\n\r\n<html><table>" + rows + b"</table></html>"


class Ours:
    """What gatekeeper does with a message's content, a part after the other."""

    def __init__(self) -> None:
        self._rules = Ruleset()
        self._rules.prepare()
        self._model = shipped_model()
        self._around = Surroundings("mx.example.org", frozenset({"example.org"}))

    def parts(self, raw: bytes, rounds: int) -> list[float]:
        """Milliseconds for reading, rules, classifier."""
        return least(lambda: self._once(raw), rounds)

    def _once(self, raw: bytes) -> tuple[float, float, float]:
        began = time.process_time()
        message = read_message(raw)
        content = content_of(message)
        read = time.process_time()
        self._rules.matches(Mail(Session("s", "check", 0.0), Envelope("e"), message), message, content, self._around)
        matched = time.process_time()
        self._model.opinion(traits_of(message), 5)
        return read - began, matched - read, time.process_time() - matched


def least(once: Callable[[], tuple[float, ...]], rounds: int) -> list[float]:
    """Milliseconds of each part, in its own best round."""
    gc.collect()
    gc.disable()
    try:
        return [1000 * min(part) for part in zip(*(once() for _ in range(rounds)), strict=True)]
    finally:
        gc.enable()


def _parser(raw: bytes) -> tuple[float]:
    began = time.process_time()
    email.message_from_bytes(raw)
    return (time.process_time() - began,)


def _theirs(there: Rspamd, raw: bytes, count: int) -> float:
    """Milliseconds of all its processes for one message, of `count` asked one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", there.port, timeout=60)
    headers = {"IP": "198.18.0.1", "From": "a@example.net", "Rcpt": "b@example.org", "Helo": "mail.example.net"}
    with contextlib.closing(connection):
        before = 0.0
        for number in itertools.count():
            if number == 5:  # it has met this kind of message by now
                before = there.cpu()
            if number == 5 + count:
                break
            connection.request("POST", "/checkv2", raw, headers)
            connection.getresponse().read()
    return (there.cpu() - before) * 1000 / count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.content", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=40, help="for each message; a quarter of them if it is large")
    given = parser.parse_args()
    table = Table("message", "reading", "rules", "classifier", "all", f"as if {AS_IF:.2f}", "rspamd", "ratio")
    with tempfile.TemporaryDirectory(prefix="gatekeeper-bench-") as name, contextlib.ExitStack() as stack:
        there = stack.enter_context(
            rspamd(
                Path(name),
                options='dns { nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }\n',
                off=NETWORK,
                local={},
                override={"classifier-bayes.conf": "enabled = false;\n"},
            )
        )
        if there is not None:
            there.wait_until_idle()
        ours = Ours()
        for what, raw in (letters := dict(shapes())).items():
            rounds = given.rounds if len(raw) < 200_000 else max(3, given.rounds // 4)
            parts, measure = ours.parts(raw, rounds), least(lambda: _parser(letters[SMALL]), 200)[0]
            whole = sum(parts)
            peer = _theirs(there, raw, 300 if len(raw) < 200_000 else 40) if there is not None else None
            beside = ("", "") if peer is None else (f"{peer:.2f}", f"{whole / peer:.2f}")
            cells = (*(f"{part:.2f}" for part in parts), f"{whole:.2f}", f"{whole * AS_IF / measure:.2f}", *beside)
            table.add_row(what, *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
