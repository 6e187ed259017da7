"""A message that comes whole, from a file or an HTTP request: brought into the form in which the wire delivers it."""

from __future__ import annotations

from gatekeeper.model import BytesBody, Message


def read_message(raw: bytes) -> Message:
    """The message in `raw`, whatever its line ends.

    A file whose lines all end in LF is just a file on Unix; LF among CRLF is a bare LF, as on the wire. A first line
    "From ..." that mailbox files put before a message is not part of it.
    """
    if raw.startswith(b"From "):
        raw = raw.partition(b"\n")[2]
    framing: tuple[str, ...] = ()
    if b"\r\n" not in raw:
        raw = raw.replace(b"\n", b"\r\n")
    elif raw.count(b"\n") != raw.count(b"\r\n"):
        raw = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        framing = ("bare_lf",)
    if raw and not raw.endswith(b"\r\n"):
        raw += b"\r\n"
    if raw.startswith(b"\r\n"):
        return Message(b"", BytesBody(raw[2:]), framing=framing)
    header, empty_line, body = raw.partition(b"\r\n\r\n")
    if not empty_line:
        return Message(raw, BytesBody(b""), separator=False, framing=framing)
    return Message(header + b"\r\n", BytesBody(body), framing=framing)
