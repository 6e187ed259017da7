"""The telling mail of the demonstration, and the world it comes from: names, lists, keys."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate, make_msgid

from gatekeeper.demo.zone import Records

DOMAIN = "example.org"
NAMES = ("alice", "bob", "postmaster")

GOOD, LISTED, WORST, FORGER, HARVESTER = "192.0.2.10", "192.0.2.66", "203.0.113.9", "198.51.100.20", "198.51.100.77"


def reverse(address: str) -> str:
    return ".".join(reversed(address.split(".")))


def world(dkim_record: str) -> Records:
    """What the DNS of the demonstration knows."""
    return {
        "friend.example": {"A": [GOOD], "TXT": [f'"v=spf1 ip4:{GOOD} -all"']},
        "mail.friend.example": {"A": [GOOD]},
        f"{reverse(GOOD)}.in-addr.arpa": {"PTR": ["mail.friend.example."]},
        "demo._domainkey.friend.example": {"TXT": [dkim_record]},
        "_dmarc.friend.example": {"TXT": ['"v=DMARC1; p=reject"']},
        "shop.example": {"A": [LISTED], "TXT": [f'"v=spf1 ip4:{LISTED} ~all"']},
        "mta.shop.example": {"A": [LISTED]},
        f"{reverse(LISTED)}.in-addr.arpa": {"PTR": ["mta.shop.example."]},
        "bank.example": {"A": ["192.0.2.200"], "TXT": ['"v=spf1 ip4:192.0.2.200 -all"']},
        "_dmarc.bank.example": {"TXT": ['"v=DMARC1; p=reject"']},
        "bulk.example": {"A": [FORGER], "TXT": [f'"v=spf1 ip4:{FORGER} -all"']},
        "out.bulk.example": {"A": [FORGER]},
        f"{reverse(FORGER)}.in-addr.arpa": {"PTR": ["out.bulk.example."]},
        f"{reverse(LISTED)}.spam.list.example": {"A": ["127.0.0.2"]},
        f"{reverse(WORST)}.spam.list.example": {"A": ["127.0.0.2"]},
        f"{reverse(WORST)}.bots.list.example": {"A": ["127.0.0.4"]},
    }


SETTINGS = """
[[checks.dnsbl.lists]]
zone = "spam.list.example"
name = "SPAM"
score = 6.0
[[checks.dnsbl.lists]]
zone = "bots.list.example"
name = "BOTS"
score = 5.0
[checks.stacking]
budget = 5.0
slow_delay = "250ms"
[message.edit]
subject_prefix = "[SPAM] "
"""
"""On top of the addresses, which the demonstration chooses."""
SLOWED = 0.25
"""Seconds: `slow_delay` there. Whoever waits so long for each answer has been slowed."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One client and what it does; `play` returns the answer to show."""

    title: str
    address: str
    name: str
    helo: str
    play: Callable[[smtplib.SMTP], str]
    sender: str = ""  # to find its record by, where the answer does not name one
    action: str = ""  # the same, where there are several
    recorded: bool = True  # whether there is a record of it


def text(sender: str, subject: str, body: str) -> bytes:
    lines = [
        f"Date: {formatdate(usegmt=True)}",
        f"From: {sender}",
        f"To: alice@{DOMAIN}",
        f"Subject: {subject}",
        f"Message-ID: {make_msgid(domain=sender.rpartition('@')[2].rstrip('>'))}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "",
        body,
        "",
    ]
    return "\r\n".join(lines).encode()


def answer(code: int, reply: bytes) -> str:
    return f"{code} {reply.decode('ascii', 'replace')}".replace("\n", " / ")


def send(smtp: smtplib.SMTP, sender: str, recipients: Sequence[str], message: bytes) -> str:
    """MAIL, RCPT, DATA; the last answer."""
    code, reply = smtp.mail(sender)
    for recipient in recipients:
        code, reply = smtp.rcpt(recipient)
    if code == 250:
        code, reply = smtp.data(message)
    return answer(code, reply)


def harvest(smtp: smtplib.SMTP) -> str:
    """RCPT after RCPT to guessed names, until cut off; how many of each answer came, and which of them late."""
    guesses = [f"{name}{number}" for number in range(1, 9) for name in ("anna", "ben", "carl", "dora", "emil", "fred")]
    seen: dict[str, int] = {}
    smtp.mail("probe@bulk.example")
    for guess in guesses:
        asked = time.monotonic()
        try:
            code, reply = smtp.rcpt(f"{guess}@{DOMAIN}")
        except smtplib.SMTPServerDisconnected:
            break
        word = answer(code, reply)[:9].strip() + (" slowed" if time.monotonic() - asked >= SLOWED else "")
        seen[word] = seen.get(word, 0) + 1
        if code == 421:
            break
    return ", then ".join(f"{count} x {word}" for word, count in seen.items())


def scenes(sign: Callable[[bytes], bytes]) -> list[Scene]:
    """All of them, in the order they are played. `sign` puts friend.example's DKIM signature on a message."""
    alice, bob = f"alice@{DOMAIN}", f"bob@{DOMAIN}"
    good = sign(text("Frieda <frieda@friend.example>", "Lunch on Friday?", "The usual place at noon?"))
    shop = text("Shop <news@shop.example>", "Three for two", "Only today.")
    worst = text("Bank <service@bank.example>", "Your account", "Please confirm your password.")
    forged = text("The bank <service@bank.example>", "Urgent", "Your account will be closed.")
    return [
        Scene(
            "clean, SPF and DKIM pass",
            GOOD,
            "mail.friend.example",
            "mail.friend.example",
            lambda smtp: send(smtp, "frieda@friend.example", [alice, bob], good),
            "frieda@friend.example",
        ),
        Scene(
            "a name that nobody has",
            GOOD,
            "mail.friend.example",
            "mail.friend.example",
            lambda smtp: send(smtp, "hans@friend.example", [f"nobody@{DOMAIN}"], good),
            "hans@friend.example",
        ),
        Scene(
            "the client is on a DNS list",
            LISTED,
            "mta.shop.example",
            "mta.shop.example",
            lambda smtp: send(smtp, "news@shop.example", [alice], shop),
            "news@shop.example",
        ),
        Scene(
            "on two lists, and SPF fails",
            WORST,
            "",
            "pc-9",
            lambda smtp: send(smtp, "service@bank.example", [alice], worst),
            "service@bank.example",
        ),
        Scene(
            "From: forged, DMARC says reject",
            FORGER,
            "out.bulk.example",
            "out.bulk.example",
            lambda smtp: send(smtp, "bounce@bulk.example", [alice], forged),
            "bounce@bulk.example",
        ),
        Scene(
            "VRFY for a name that exists",
            GOOD,
            "mail.friend.example",
            "mail.friend.example",
            lambda smtp: answer(*smtp.verify(alice)),
            recorded=False,
        ),
        Scene(
            "VRFY for one that does not",
            GOOD,
            "mail.friend.example",
            "mail.friend.example",
            lambda smtp: answer(*smtp.verify(f"nobody@{DOMAIN}")),
            recorded=False,
        ),
        Scene(
            "EXPN",
            GOOD,
            "mail.friend.example",
            "mail.friend.example",
            lambda smtp: answer(*smtp.expn("staff")),
            recorded=False,
        ),
        Scene(
            "48 guessed names, no mail",
            HARVESTER,
            "",
            "harvest.bulk.example",
            harvest,
            "probe@bulk.example",
            "drop",
        ),
        Scene(
            "the same client comes back",
            HARVESTER,
            "",
            "harvest.bulk.example",
            lambda smtp: send(smtp, "again@bulk.example", [alice], shop),
        ),
    ]
