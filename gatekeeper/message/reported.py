"""A mail that reports others -> those messages: attached, redirected, or quoted in its text. Pure.

Attached (message/rfc822) and redirected ones are whole. Of one that was forwarded inline only its words are left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gatekeeper.message.as_received import message_of
from gatekeeper.message.content import content_of
from gatekeeper.message.header import author_of, header_of
from gatekeeper.message.mime import mime_of
from gatekeeper.message.parts import Part
from gatekeeper.model import BytesBody, Message

MOST = 20
"""Messages of one report; of more, the first."""
SIZE = 8 * 1024 * 1024
"""Octets of one attached message that are read."""
TEXT = 200_000
"""Characters of a report's text in which a quoted message is looked for."""


@dataclass(frozen=True, slots=True)
class Reported:
    """`whole` is whether it is the message itself; else only its words mean anything."""

    message: Message
    whole: bool = True


def reported(report: Message, *, user: str) -> tuple[Reported, ...]:
    """What a user's mail reports; () where there is nothing in it but the user's own words.

    A redirected message (RFC 5322 §3.6.6) and one that somebody else wrote stand for themselves, if none is attached.
    """
    header = header_of(report)
    if any(header.first(name) for name in ("resent-from", "resent-to", "resent-date")):
        return (Reported(report),)
    attached = tuple(Reported(message_of(octets)) for octets in _attached(report))
    if attached:
        return attached
    quoted = _quoted("\n".join(content_of(report).seen)[:TEXT].replace("\r\n", "\n"))
    if quoted is not None:
        return (Reported(quoted, whole=False),)
    return () if _own(report, user) else (Reported(report),)


def _attached(report: Message) -> Iterator[bytes]:
    inside: list[str] = []
    for part in mime_of(report).parts:
        if part.reading or not part.number or len(inside) >= MOST or not _is_message(part):
            continue
        if any(part.number.startswith(f"{outer}.") or part.number == outer for outer in inside):
            continue  # what a reported message has attached is a part of it
        octets = part.decoded(SIZE).lstrip(b"\r\n")
        if octets:
            inside.append(part.number)
            yield octets


def _is_message(part: Part) -> bool:
    return part.media in {"message/rfc822", "message/global"} or (
        not part.container and part.name.lower().endswith(".eml")
    )


def _own(report: Message, user: str) -> bool:
    """Whether the user who is logged in wrote it: by address, or by the local part where a login is one."""
    written = {str(mailbox.address).lower() for mailbox in author_of(report).mailboxes}
    login = user.lower()
    return login in written or any(address.rpartition("@")[0] == login.partition("@")[0] for address in written)


_MARK = re.compile(
    r"^[> \t]*+(?:-{2,}+[^\n-][^\n]{2,60}?-{2,}+|begin forwarded message:|_{20,}+)[ \t]*+$",
    re.MULTILINE | re.IGNORECASE,
)
"""What mail programs write above a message that they quote: a sentence between hyphens, in whatever language."""
_FIELD = re.compile(r"^[> \t*]*+([^\W\d_][^\n:]{1,20}?)[ \t*]*+:[ \t*]*+(\S[^\n]*+)$")
_SUBJECTS = frozenset(
    (  # noqa: SIM905  # a list of words reads better so
        "subject betreff objet asunto oggetto onderwerp ämne emne assunto aihe temat předmět predmet tárgy subiect "
        "konu тема θέμα 主题 主旨 件名 제목"
    ).split()
)
_ADDRESS = re.compile(r"[^\s<>@\"\[\]():,;]{1,64}@[^\s<>@\"\]]{1,255}")
_NEWLINES = re.compile(r"\n*+")
FIELDS = 8
FIELDS_LENGTH = 4096
"""Characters under a mark among which its fields are: a text may be made of marks."""


def _quoted(text: str) -> Message | None:
    """The message under the first mark that is followed by the fields of one."""
    for mark in _MARK.finditer(text):
        start = _NEWLINES.match(text, mark.end()).end()  # type: ignore[union-attr]  # it may be empty
        sender, subject, end = "", "", 0
        for number, line in enumerate(text[start : start + FIELDS_LENGTH].split("\n")[: 2 * FIELDS]):
            found = _FIELD.match(line.rstrip())
            if found is None:
                if line.strip(" \t>") and number:
                    break  # the text begins; or a field goes on, which nobody can tell
                if end and not line.strip(" \t>"):
                    break
                continue
            end = number + 1
            address = _ADDRESS.search(found[2])
            if address is not None and not sender:
                sender = address[0]
            if found[1].strip().lower() in _SUBJECTS:
                subject = found[2].replace("\r", " ").strip()
        if sender and end >= 2:
            return _message(sender, subject, text[start:].split("\n")[end:])
    return None


_QUOTE = re.compile(r"^(?:>[ \t]?)+", re.MULTILINE)


def _message(sender: str, subject: str, lines: list[str]) -> Message:
    body = _QUOTE.sub("", "\n".join(lines)).strip("\n")
    header = f"From: <{sender}>\r\nSubject: {subject}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    octets = body.replace("\r", "").replace("\n", "\r\n").encode("utf-8", "replace")
    return Message(header.encode("utf-8", "replace"), BytesBody(octets))
