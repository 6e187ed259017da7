"""A mail server that asks: its side of the milter protocol and of Postfix's policy delegation, on UNIX sockets.

As Postfix does it: a milter connection for each of its clients, and one connection to the policy service for all of
them, with three questions a message. What is sent is made before anything is timed, as far as it can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from gatekeeper.bench.letters import RECIPIENT, Letter, Talk

OFFER: Final = struct.pack("!III", 6, 0x1FF, 0x1FFFFF)
"""What Postfix 3.7 offers: version, actions, steps."""
GOES_ON: Final = b"c"
TOOK: Final = b"ac"
STATES: Final = ("RCPT", "DATA", "END-OF-MESSAGE")
IDLE_AT_ONCE: Final = 100


def milter(path: Path) -> Talk:
    """Through the milter at that socket."""

    async def talk(letter: Letter) -> str:
        reader, writer = await asyncio.open_unix_connection(str(path))
        try:
            for group, wanted in _groups(letter):
                writer.write(group)
                letters = await _decision(reader)
                if letters not in wanted:
                    return f"the milter answers {letters!r}"
            writer.write(_packet(b"Q"))
            return ""
        finally:
            writer.close()

    return talk


def _groups(letter: Letter) -> Sequence[tuple[bytes, bytes]]:
    """What is sent together, and the letters of answers that let the message go on."""
    text = re.sub(rb"(?m)^\.\.", b".", letter.wire.removesuffix(b".\r\n"))
    header, _, body = text.partition(b"\r\n\r\n")
    fields = (field.partition(b":") for field in re.split(rb"\r\n(?![ \t])", header))
    macros = _macros(b"C", b"j", b"mail.example", b"{client_addr}", letter.address.encode())
    client = letter.helo.encode() + b"\0" + b"4" + struct.pack("!H", 40000) + letter.address.encode() + b"\0"
    return (
        (_packet(b"O", OFFER), b"O"),
        (macros + _packet(b"C", client), GOES_ON),
        (
            _packet(b"H", letter.helo.encode() + b"\0") + _packet(b"M", b"<%b>\0" % letter.sender.encode()),
            GOES_ON,
        ),
        (_macros(b"R", b"{rcpt_mailer}", b"smtp") + _packet(b"R", b"<%b>\0" % RECIPIENT.encode()), GOES_ON),
        (
            _macros(b"T", b"i", b"4XyZ")
            + _packet(b"T")
            + b"".join(_packet(b"L", name + b"\0" + value + b"\0") for name, _, value in fields)
            + _packet(b"N")
            + b"".join(_packet(b"B", body[at : at + 65535]) for at in range(0, len(body), 65535))
            + _packet(b"E"),
            TOOK,
        ),
    )


def _packet(letter: bytes, data: bytes = b"") -> bytes:
    return struct.pack("!I", 1 + len(data)) + letter + data


def _macros(letter: bytes, *pairs: bytes) -> bytes:
    return _packet(b"D", letter + b"".join(each + b"\0" for each in pairs))


async def _decision(reader: asyncio.StreamReader) -> bytes:
    """The letter of the next answer that is no edit and no sign of life."""
    while True:
        (length,) = struct.unpack("!I", await reader.readexactly(4))
        letter = (await reader.readexactly(length))[:1]
        if letter not in b"himp":
            return letter


def policy(path: Path) -> Talk:
    """Through the policy service at that socket; a connection is used again, as an smtpd process does."""
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    numbers = itertools.count()

    async def talk(letter: Letter) -> str:
        reader, writer = idle.pop() if idle else await asyncio.open_unix_connection(str(path))
        instance = f"bench.{next(numbers)}.0"
        for state in STATES:
            writer.write(_question(letter, state, instance))
            action = await reader.readuntil(b"\n\n")
            if not action.startswith((b"action=DUNNO", b"action=PREPEND")):
                writer.close()
                return action.strip().decode(errors="replace")[:100]
        idle.append((reader, writer))
        return ""

    return talk


def _question(letter: Letter, state: str, instance: str) -> bytes:
    facts = {
        "request": "smtpd_access_policy",
        "protocol_state": state,
        "protocol_name": "ESMTP",
        "client_address": letter.address,
        "client_name": letter.helo,
        "client_port": "40000",
        "reverse_client_name": letter.helo,
        "server_address": "192.0.2.1",
        "server_port": "25",
        "helo_name": letter.helo,
        "sender": letter.sender,
        "recipient": RECIPIENT,
        "recipient_count": "0" if state == "RCPT" else "1",
        "queue_id": "",
        "instance": instance,
        "size": str(len(letter.wire)) if state == "END-OF-MESSAGE" else "0",
        "etrn_domain": "",
        "stress": "",
        "sasl_method": "",
        "sasl_username": "",
        "sasl_sender": "",
        "ccert_subject": "",
        "ccert_issuer": "",
        "ccert_fingerprint": "",
        "encryption_protocol": "",
        "encryption_cipher": "",
        "encryption_keysize": "0",
    }
    return "".join(f"{name}={value}\n" for name, value in facts.items()).encode() + b"\n"


@contextlib.asynccontextmanager
async def idle(count: int, path: Path, *, letter: Letter, asks: bool) -> AsyncIterator[int]:
    """That many connections that have told of a client and say nothing since: milter connections, or where it `asks`
    those to a policy service.
    """
    open_ones: list[asyncio.StreamWriter] = []

    async def one() -> None:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=4096)
        open_ones.append(writer)
        if asks:
            writer.write(_question(letter, "RCPT", f"idle.{len(open_ones)}.0"))
            await reader.readuntil(b"\n\n")
            return
        for group, _ in _groups(letter)[:2]:
            writer.write(group)
            await _decision(reader)
        writer.write(_packet(b"H", letter.helo.encode() + b"\0"))

    try:
        for first in range(0, count, IDLE_AT_ONCE):
            await asyncio.gather(*(one() for _ in range(first, min(count, first + IDLE_AT_ONCE))))
        yield len(open_ones)
    finally:
        for writer in open_ones:
            writer.transport.abort()
