"""Are the header fields those of a message (RFC 5322 §3.6), and can its author be read in one way only?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gatekeeper.checks.base import MESSAGE_FORM, Tools
from gatekeeper.message.header import author_of, header_of
from gatekeeper.model import Duration, Finding, Kind, Mail, Message, Missing, Rule, setting
from gatekeeper.wire.date import parse_date
from gatekeeper.wire.headers import Defect, Header, escape
from gatekeeper.wire.mailboxes import Ambiguity

ONCE = ("sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "in-reply-to", "references")
"""Fields of which there may be one (§3.6); From has rules of its own."""

_SEVERAL = frozenset({Ambiguity.SEVERAL_ADDRESSES, Ambiguity.SEVERAL_FIELDS})


@dataclass(frozen=True, slots=True)
class FromEvidence:
    """The author as far as it can be told: `domain` is None unless every reader sees the same one."""

    domain: str | None
    ambiguities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DateEvidence:
    """How far the Date field is from our clock: seconds, negative in the past; None when it is no date."""

    off: float | None


@dataclass(frozen=True, slots=True)
class FieldsEvidence:
    """`count` fields, and which: their names, or what is wrong with them."""

    count: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Headers:
    """[checks.headers]"""

    past: Duration = setting(14 * 86400.0, "How old the Date field may be.")
    future: Duration = setting(86400.0, "How far ahead of our clock the Date field may be; time zones are often wrong.")
    maximum_fields: int = setting(250, "More header fields than this are a finding.")

    name: ClassVar[str] = "headers"

    def __post_init__(self) -> None:
        if self.past <= 0 or self.future <= 0:
            raise ValueError("past and future must be longer than nothing, such as '14d' and '1d'")
        if self.maximum_fields < 1:
            raise ValueError("maximum_fields must be at least 1")

    def rules(self) -> Sequence[Rule]:
        return _RULES

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        if mail.message is None:
            return []
        header = header_of(mail.message)
        return [
            *_author(mail.message, header),
            *self._date(header, tools.clock()),
            *self._fields(header),
            *_bytes(mail, mail.message),
        ]

    def _date(self, header: Header, now: float) -> Iterator[Finding]:
        field = header.first("date")
        if field is None:
            yield Finding("DATE_MISSING", None, "no Date field")
            return
        date = parse_date(field.text)
        if date is None:
            yield Finding("DATE_INVALID", DateEvidence(None), f"Date: {escape(field.text, 60)}")
        elif date < now - self.past:
            yield Finding("DATE_PAST", DateEvidence(date - now), f"Date is {_span(now - date)} old")
        elif date > now + self.future:
            yield Finding("DATE_FUTURE", DateEvidence(date - now), f"Date is {_span(date - now)} ahead")

    def _fields(self, header: Header) -> Iterator[Finding]:
        if header.first("message-id") is None:
            yield Finding("MESSAGE_ID_MISSING", None, "no Message-ID field")
        repeated = tuple(name for name in ONCE if len(header.all(name)) > 1)
        if repeated:
            count = max(len(header.all(name)) for name in repeated)
            yield Finding("HEADER_REPEATED", FieldsEvidence(count, repeated), f"more than once: {', '.join(repeated)}")
        # The line of an mbox file says that a message was kept in one, and no more.
        malformed = [field for field in header.malformed if Defect.MAILBOX_LINE not in field.defects]
        if malformed:
            defects = tuple(sorted({defect.value for field in malformed for defect in field.defects}))
            evidence = FieldsEvidence(len(malformed), defects)
            yield Finding("HEADER_MALFORMED", evidence, f"{evidence.count} malformed: {', '.join(defects)}")
        if len(header.fields) > self.maximum_fields:
            yield Finding("HEADER_MANY", FieldsEvidence(len(header.fields)), f"{len(header.fields)} header fields")


def _author(message: Message, header: Header) -> Iterator[Finding]:
    if header.first("from") is None:
        yield Finding("FROM_MISSING", FromEvidence(None, ()), "no From field")
        return
    author = author_of(message)
    doubts = tuple(doubt.value for doubt in author.ambiguities)
    evidence = FromEvidence(author.domain, doubts)
    if not _SEVERAL.isdisjoint(author.ambiguities):
        yield Finding("FROM_SEVERAL", evidence, f"From names several: {', '.join(author.domains)[:200]}")
    if not _SEVERAL.issuperset(author.ambiguities):
        yield Finding("FROM_AMBIGUOUS", evidence, f"From is not one clear address: {', '.join(doubts)}")


def _bytes(mail: Mail, message: Message) -> Iterator[Finding]:
    if not message.header.isascii() and not any(word.upper() == "SMTPUTF8" for word in mail.envelope.parameters):
        yield Finding("HEADER_EIGHT_BIT", None, "8-bit header without SMTPUTF8")
    if "bare_lf" in message.framing:
        yield Finding("BARE_LF", None, "lines ended in a bare LF")


def _span(seconds: float) -> str:
    return f"{seconds / 86400:.0f} days" if seconds >= 2 * 86400 else f"{seconds / 3600:.0f} hours"


# Sloppy senders of wanted mail break these every day, so that all together stay far below `tag`.
_RULES = tuple(
    Rule(name, score, about, kind, group=MESSAGE_FORM)
    for name, score, about, kind in (
        ("FROM_MISSING", 0.6, "The message has no From field.", Kind.IDENTITY),
        ("FROM_SEVERAL", 0.4, "From stands there twice, or names several authors.", Kind.IDENTITY),
        ("FROM_AMBIGUOUS", 0.5, "Two programs might read two authors in the From field, or none.", Kind.IDENTITY),
        ("DATE_MISSING", 0.3, "The message has no Date field.", Kind.FORM),
        ("DATE_INVALID", 0.2, "The Date field is no date.", Kind.FORM),
        ("DATE_PAST", 0.2, "The Date field is of long ago.", Kind.FORM),
        ("DATE_FUTURE", 0.3, "The Date field is ahead of the time.", Kind.FORM),
        ("MESSAGE_ID_MISSING", 0.2, "The message has no Message-ID field.", Kind.FORM),
        ("HEADER_REPEATED", 0.3, "A header field that may stand there once stands there more often.", Kind.FORM),
        ("HEADER_MALFORMED", 0.2, "A line of the header is no header field.", Kind.FORM),
        ("HEADER_MANY", 0.1, "There are more header fields than any path of delivery explains.", Kind.FORM),
        ("HEADER_EIGHT_BIT", 0.1, "The header has 8-bit characters although SMTPUTF8 was not asked for.", Kind.FORM),
        ("BARE_LF", 0.1, "Lines ended in a bare LF, which SMTP forbids.", Kind.FORM),
    )
)
