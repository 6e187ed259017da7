"""A message's header, and its author, each read once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gatekeeper.model import Message
from gatekeeper.wire.date import parse_date
from gatekeeper.wire.headers import Defect, Field, Header, parse_header
from gatekeeper.wire.mailboxes import Ambiguity, Mailbox, parse_address_list

_EMPTY_FOLD = re.compile(rb"\n[ \t]++\r?\n")

AUTHOR_FIELDS, AUTHOR_OCTETS = 5, 4096
"""How many From fields, and how much of each, is read; one is allowed (RFC 5322 §3.6), of a line or two."""


@dataclass(frozen=True, slots=True)
class Author:
    """The From field as every check reads it.

    `domain` is that of the one author, and None unless there is exactly one and no two readers could see another:
    then nothing authenticates. `ambiguities` says why; it is () too when there is no From field. A Sender field that
    can be read in two ways is one of the reasons: mail programs show it beside the author.
    """

    mailboxes: tuple[Mailbox, ...]
    domain: str | None
    ambiguities: tuple[Ambiguity, ...]

    @property
    def domains(self) -> tuple[str, ...]:
        """Every domain that stands in it, in order, each once: whoever distrusts may ask about all of them."""
        return tuple(dict.fromkeys(mailbox.address.domain for mailbox in self.mailboxes))


def header_of(message: Message) -> Header:
    """The message's header fields, read at the first call."""
    header: Header | None = message.memo.get("header")
    if header is None:
        header = message.memo["header"] = parse_header(message.header)
    return header


def author_of(message: Message) -> Author:
    """The one reading of From (RFC 5322 §3.6.2), made at the first call."""
    author: Author | None = message.memo.get("author")
    if author is None:
        author = message.memo["author"] = _read_author(header_of(message), message.header)
    return author


def _read_author(header: Header, block: bytes) -> Author:
    fields = header.all("from")
    lists = [parse_address_list(field.value, AUTHOR_OCTETS) for field in fields[:AUTHOR_FIELDS]]
    mailboxes = tuple(mailbox for one in lists for mailbox in one.mailboxes)
    doubts = dict.fromkeys(doubt for one in lists for doubt in one.ambiguities)
    if fields and not mailboxes and not doubts:
        doubts[Ambiguity.MALFORMED] = None  # an empty field
    if len(fields) > 1:
        doubts[Ambiguity.SEVERAL_FIELDS] = None
    if len(mailboxes) > 1:
        doubts[Ambiguity.SEVERAL_ADDRESSES] = None
    empty_fold = _EMPTY_FOLD.search(block) is not None
    if fields and _hidden_from_some(fields[-1], header, empty_fold=empty_fold):
        doubts[Ambiguity.MALFORMED_FIELD] = None
    if header.malformed and Defect.TOO_MANY in header.malformed[-1].defects:
        doubts[Ambiguity.TOO_LONG] = None  # who knows who else is named in the rest
    doubts |= dict.fromkeys(_sender_doubts(header))
    domain = mailboxes[0].address.domain if len(mailboxes) == 1 and not doubts else None
    return Author(mailboxes, domain or None, tuple(doubts))


def _sender_doubts(header: Header) -> Iterator[Ambiguity]:
    """RFC 5322 §3.6.2: one Sender field with one mailbox, if any. What holds no address at all misleads nobody."""
    fields = header.all("sender")
    if len(fields) > 1:
        yield Ambiguity.SEVERAL_SENDERS
    for field in fields[:1]:
        read = parse_address_list(field.value, AUTHOR_OCTETS)
        if len(read.mailboxes) > 1:
            yield Ambiguity.SEVERAL_SENDERS
        if field.defects or (read.ambiguities and b"@" in field.value):
            yield Ambiguity.SENDER


def _hidden_from_some(field: Field, header: Header, *, empty_fold: bool) -> bool:
    """Whether the field, or anything before it, is malformed: there some readers (Postfix is one) end the header.

    So do some at a line of blanks only, which is an obsolete fold (§4.2). The line of an mbox file does no harm:
    `message/edit.py` and the MTA make a field of it. `empty_fold`: there is such a fold somewhere in the header.
    """
    if any(bad.index <= field.index and Defect.MAILBOX_LINE not in bad.defects for bad in header.malformed):
        return True
    return empty_fold and any(_EMPTY_FOLD.search(one.raw) for one in header.fields[: field.index + 1])


def date_of(message: Message) -> float | None:
    """Unix time of the first Date field; None when there is none or it is no date."""
    field = header_of(message).first("date")
    return None if field is None else parse_date(field.text)
