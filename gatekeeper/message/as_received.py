"""A message out of a mailbox -> the message as it came in: what we, the MTA and mail programs added is taken off. Pure.

Whoever learns from a message has to see what a judge of the next one will see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gatekeeper.message.edit import without_prefix
from gatekeeper.message.header import header_of
from gatekeeper.model import BytesBody, Message
from gatekeeper.wire.address import normal_domain
from gatekeeper.wire.auth_results import authserv_id_of
from gatekeeper.wire.headers import Field

_BARE_LF = re.compile(rb"(?<!\r)\n")
_MAILBOX_LINE = re.compile(rb">?From [^\r\n]*+\r\n")
_OURS = re.compile(r"\bby (\S{1,255}) \(gatekeeper\) with \S{1,20} id ([0-9A-Z]{14})\b")
_DELIVERED = frozenset(
    (  # noqa: SIM905  # a list of words reads better so
        "return-path delivered-to x-original-to envelope-to x-envelope-to x-envelope-from delivery-date "
        "status x-status x-keywords x-uid x-uidl x-sieve x-sieve-redirected-from x-mozilla-status "
        "x-mozilla-status2 x-mozilla-keys x-account-key x-evolution-source x-gmail-labels x-gm-thrid"
    ).split()
)
"""What is written when a message is delivered, or by a mail program that keeps it."""
TRACES = 20
"""Received fields among which ours is looked for."""


@dataclass(frozen=True, slots=True)
class AsReceived:
    """`message` is as it came in; `record` is the id in our own Received field, "" where none is there."""

    message: Message
    record: str = ""


def message_of(octets: bytes) -> Message:
    """A message from a file: any line ends, with or without the "From " line of an mbox. Never raises."""
    text = _BARE_LF.sub(b"\r\n", octets)
    line = _MAILBOX_LINE.match(text)
    if line is not None:
        text = text[line.end() :]
    if text.startswith(b"\r\n"):
        return Message(b"", BytesBody(text[2:]))
    header, separator, body = text.partition(b"\r\n\r\n")
    if not separator:
        whole = header if header.endswith(b"\r\n") or not header else header + b"\r\n"
        return Message(whole, BytesBody(b""), separator=False)
    return Message(header + b"\r\n", BytesBody(body))


def as_received(message: Message, *, hostname: str, subject_prefix: str = "") -> AsReceived:
    """`hostname` is ours. Fields above our own Received are those of whoever had it after us; without one only what
    is known by its name is taken off.
    """
    fields = header_of(message).fields
    record, first = "", 0
    traces = 0
    for field in fields:
        if field.name != "received":
            continue
        traces += 1
        found = _OURS.search(field.text) if traces <= TRACES else None
        if found is not None and found[1].lower() == hostname.lower():
            record, first = found[2], field.index + 1
            break  # ours is the first: whatever claims the same below it came in
    kept = [_line(field, subject_prefix) for field in fields[first:] if not _added(field, hostname)]
    return AsReceived(Message(b"".join(kept), message.body, separator=message.separator), record)


def _added(field: Field, hostname: str) -> bool:
    name = field.name
    if name in _DELIVERED or name == "x-spam" or name.startswith(("resent-", "x-spam-")):
        return True
    if name != "authentication-results":
        return False
    claimed = None if field.defects else authserv_id_of(field.value)
    return claimed is None or (normal_domain(claimed) or claimed.lower()) == hostname.lower()


def _line(field: Field, subject_prefix: str) -> bytes:
    if field.name != "subject" or not subject_prefix:
        return field.raw
    shorter = without_prefix(field.value, subject_prefix)
    return field.raw if shorter is None else field.raw_name + b": " + shorter + b"\r\n"
