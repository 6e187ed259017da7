"""The next hop's name for a message, as its last reply tells it. Pure."""

from __future__ import annotations

import re

from gatekeeper.model import Reply

_LIMIT = 64
_SPOKEN = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bqueued as ([0-9a-z][0-9a-z._-]{0,63})",  # Postfix: 2.0.0 Ok: queued as 4ZxYzW1kQz9rV
        r"\bid=([0-9a-z][0-9a-z-]{2,63})",  # Exim: OK id=1rABCd-0000000012-3EfG
        r"\b([0-9a-z]{6,64}) message accepted for delivery",  # Sendmail, OpenSMTPD
        r"<[^<>]{0,320}> ([0-9a-z+/]{8,64}(?::[0-9a-z]{1,8})?) saved",  # Dovecot's LMTP: <user@host> 0K3dFmFh… Saved
        r"\binternalid=([0-9]{1,64})",  # Exchange: [InternalId=123, Hostname=…] Queued mail for delivery
        r"\bqueued \(([0-9a-f][0-9a-f.-]{0,63})\)",  # Haraka: Message Queued (UUID)
        r"\bqp ([0-9]{1,20})\b",  # qmail: ok 1700000000 qp 12345
    )
)


def queue_id(reply: Reply | None) -> str:
    """What the reply calls the message; "" when it names nothing, or is a refusal."""
    if reply is None or not reply.positive:
        return ""
    text = reply.text[:2000]
    for spoken in _SPOKEN:
        found = spoken.search(text)
        if found:
            return found[1].rstrip(".-")[:_LIMIT]
    return ""
