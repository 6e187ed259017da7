"""What EHLO offers: our own extensions, and those of the next hop that we can pass on (RFC 5321 §4.1.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gatekeeper.model import Reply
from gatekeeper.nexthop import Capabilities
from gatekeeper.wire.replies import encode

PASSED_ON: Final = ("SIZE", "8BITMIME", "SMTPUTF8", "DSN")
XCLIENT: Final = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN"
XFORWARD: Final = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"


@dataclass(frozen=True, slots=True)
class Offer:
    """`extensions` are those whose parameters MAIL and RCPT may have, `size` the octets that a message may have.

    The answers to EHLO are `to_all` and `to_trusted`; `before_tls` are the same where STARTTLS can still be had.
    """

    extensions: frozenset[str]
    size: int
    to_all: bytes
    to_trusted: bytes
    before_tls: tuple[bytes, bytes]

    def answer(self, *, trusted: bool, starttls: bool) -> bytes:
        if starttls:
            return self.before_tls[trusted]
        return self.to_trusted if trusted else self.to_all

    @classmethod
    def of(cls, capabilities: Capabilities | None, *, hostname: str, size: int, recipients: int) -> Offer:
        """`capabilities` are the next hop's, None while it has not told them.

        Then everything is offered: recipients are deferred as long as it is away, and a sender that needs an extension
        must not take it for missing and return the mail.
        """
        passed = [name for name in PASSED_ON if capabilities is None or capabilities.offers(name)]
        if capabilities is not None:
            size = _smaller(size, capabilities.keywords.get("SIZE", ""))
        lines = [hostname, "PIPELINING"]
        lines += [f"SIZE {size}" if name == "SIZE" else name for name in passed]
        lines += ["ENHANCEDSTATUSCODES", f"LIMITS RCPTMAX={recipients}"]
        return cls(
            extensions=frozenset(passed),
            size=size,
            to_all=encode(Reply(250, tuple(lines))),
            to_trusted=encode(Reply(250, (*lines, XCLIENT, XFORWARD))),
            before_tls=(
                encode(Reply(250, (*lines, "STARTTLS"))),
                encode(Reply(250, (*lines, "STARTTLS", XCLIENT, XFORWARD))),
            ),
        )


def _smaller(ours: int, theirs: str) -> int:
    """RFC 1870 §4: 0 or nothing is no limit."""
    if theirs.isascii() and theirs.isdigit() and len(theirs) <= 20 and int(theirs):
        return min(ours, int(theirs))
    return ours
