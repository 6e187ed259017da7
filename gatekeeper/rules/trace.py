"""Where a message says it has been: Received (RFC 5321 §4.4), Message-ID (RFC 5322 §3.6.4), and what cannot be so."""

from __future__ import annotations

import re
from typing import Final

from gatekeeper.message.domains import registered_domain
from gatekeeper.wire.date import parse_date
from gatekeeper.wire.headers import Field, Header

MOST: Final = 6
"""Received fields that are looked at, the newest first."""
DAY: Final = 86_400.0

_MESSAGE_ID = re.compile(r"<[^<>@\s]{1,250}@([^<>@\s]{1,250})>")
_IMPOSSIBLE = re.compile(  # in brackets: in parentheses stand versions too
    r"\[(?=[\d.]{7,24}\])(?:\d{1,5}\.){0,3}(?:25[6-9]|2[6-9]\d|[3-9]\d\d|[1-9]\d{3,4})(?:\.\d{1,5}){0,3}\]"
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_BY = re.compile(r"\bby ([\w.-]{1,255})", re.IGNORECASE | re.ASCII)
_PROVIDERS: Final = {
    "mail.gmail.com": "google",
    "googlemail.com": "google",
    "email.android.com": "",
    "mail.yahoo.com": "yahoo",
    "phx.gbl": "hotmail",
}
"""Right sides of Message-IDs that one provider's servers make, and the word that their Received fields have."""


def trace_facts(header: Header, home: str, hostname: str, domains: frozenset[str], found: dict[str, int]) -> None:
    """Put what is known of the message's way into `found`."""
    received = header.all("received")[:MOST]
    found["received"] = len(received)
    _message_id(header, received, home, domains, found)
    above: float | None = None
    for one in received:
        text = one.text[:2000]
        _, semicolon, date = text.rpartition(";")
        when = parse_date(date.strip()) if semicolon else None
        impossible = "[" in text and _IMPOSSIBLE.search(text) is not None
        undated = when is None and semicolon and not _YEAR.search(date)
        if impossible or undated:
            found["received_forged"] = found.get("received_forged", 0) + 1
        if when is not None:
            if above is not None and when > above + DAY:
                found["received_backwards"] = found.get("received_backwards", 0) + 1
            above = when
        if hostname and hostname in text.lower():
            by = _BY.search(text)
            if by is not None and by[1].lower().rstrip(".") == hostname:
                found["received_ours"] = found.get("received_ours", 0) + 1


def _message_id(
    header: Header, received: list[Field], home: str, domains: frozenset[str], found: dict[str, int]
) -> None:
    field = header.first("message-id")
    if field is None:
        return
    written = _MESSAGE_ID.fullmatch(field.text[:600].strip())
    if written is None:
        found["message_id_malformed"] = 1
        return
    right = written[1].lower()
    domain = registered_domain(right)
    found["message_id_local"] = int(not domain and not right.startswith("["))
    found["message_id_ours"] = int(bool(domains) and (right in domains or domain in domains) and home not in domains)
    word = next((word for name, word in _PROVIDERS.items() if right == name or right.endswith(f".{name}")), "")
    if word and received and "list-id" not in header.by_name:
        way = b"".join(one.value[:2000] for one in received).lower()
        found["message_id_free"] = int(word.encode() not in way and f"x-{word}" not in " ".join(header.by_name))
