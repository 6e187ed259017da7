"""STARTTLS: from a conversation in the clear to one over TLS, and nothing taken along (RFC 3207)."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gatekeeper import log, metrics
from gatekeeper.model import Reply, Session, Tls
from gatekeeper.servers.conversation import ClientGone, Conversation
from gatekeeper.servers.tls import Certificate, HandshakeFailed, agreed, start_tls
from gatekeeper.wire.replies import encode

GO_AHEAD: Final = encode(Reply.of(220, "2.0.0 Ready to start TLS"))


async def secure(
    protocol: asyncio.Protocol,
    conversation: Conversation,
    certificate: Certificate,
    session: Session,
    *,
    injections: log.Folded,
) -> Tls | None:
    """Answer STARTTLS and shake hands; what was agreed on. `protocol` is the one that the conversation hears from.

    Commands that stood behind it in the clear are thrown away, counted and logged: whoever sent them wanted them taken
    for commands of the protected session. Raises ClientGone, also when no TLS comes about: without it the client may
    not go on (RFC 3207 §4.1 leaves that to us), and neither loop could.
    """
    injected = await conversation.discard()
    if injected:
        metrics.STARTTLS_INJECTIONS.inc()
        injections.event(level=logging.WARNING, id=session.id, client=session.address, octets=injected)
    try:
        transport = await conversation.start_tls(GO_AHEAD, lambda clear: start_tls(clear, protocol, certificate))
    except HandshakeFailed:
        raise ClientGone from None
    metrics.SMTP_REPLIES["2xx"].inc()
    return agreed(transport)
