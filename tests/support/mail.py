"""Messages for tests, from text with any line ends."""

from __future__ import annotations

from gatekeeper.model import BytesBody, Message


def message_of(raw: bytes | str) -> Message:
    """As a server would hand it on: canonical CRLF, split at the first empty line."""
    octets = raw.encode() if isinstance(raw, str) else raw
    octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if octets.startswith(b"\r\n"):
        return Message(b"", BytesBody(octets[2:]))
    head, empty, body = octets.partition(b"\r\n\r\n")
    header = head + b"\r\n" if empty else octets
    return Message(header, BytesBody(body), separator=bool(empty))
