"""A mail server as a milter sees it: sends the packets it is told to, reads answers. Knows nothing of our codec."""

from __future__ import annotations

import asyncio
import struct
from types import TracebackType
from typing import Self

PATIENCE = 20.0
"""Seconds until a test that waits for an answer that never comes has failed."""

POSTFIX = (6, 0x1FF, 0x1FFFFF)
"""What Postfix offers: version, actions, steps."""
OLD = (2, 0x3F, 0x7F)
"""What an MTA of version 2 offers: everything is answered."""

CONTINUE, ACCEPT, GONE = ("c", b""), ("a", b""), ("gone", b"")
NR = {"L": 0x80, "H": 0x2000, "T": 0x10000, "U": 0x20000, "N": 0x40000, "B": 0x80000}
"""Commands that need no answer, and the step that says so."""


def packet(letter: str, data: bytes = b"") -> bytes:
    return struct.pack("!I", 1 + len(data)) + letter.encode() + data


def words(*texts: str | bytes) -> bytes:
    return b"".join((text.encode() if isinstance(text, str) else text) + b"\0" for text in texts)


def client(address: str = "192.0.2.10", name: str = "mail.example.net", port: int = 40000) -> bytes:
    """The data of a CONNECT."""
    family = "6" if ":" in address else "4"
    return words(name) + family.encode() + struct.pack("!H", port) + words(address)


class MilterClient:
    """`async with MilterClient(port) as mta`: negotiates unless told not to; its answer is in `agreed`."""

    def __init__(
        self, port: int | str, *, offer: tuple[int, int, int] | None = POSTFIX, source: str = "127.0.0.1"
    ) -> None:
        self.port = port
        self.offer = offer
        self.source = source
        self.agreed = (0, 0, 0)
        self.macros_wanted: dict[int, str] = {}

    async def __aenter__(self) -> Self:
        if isinstance(self.port, str):
            self.reader, self.writer = await asyncio.open_unix_connection(self.port)
        else:
            self.reader, self.writer = await asyncio.open_connection(
                "127.0.0.1", self.port, local_addr=(self.source, 0)
            )
        if self.offer is not None:
            self.send("O", struct.pack("!III", *self.offer))
            letter, data = await self.answer()
            assert letter == "O", letter
            self.agreed = struct.unpack_from("!III", data)
            rest = data[12:]
            while rest:
                names, _, after = rest[4:].partition(b"\0")
                self.macros_wanted[struct.unpack_from("!I", rest)[0]] = names.decode()
                rest = after
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()

    def write(self, octets: bytes) -> None:
        self.writer.write(octets)

    def send(self, letter: str, data: bytes = b"") -> None:
        self.write(packet(letter, data))

    def macros(self, letter: str, **values: str) -> None:
        """Macros of that command; names with more than one letter get their braces."""
        pairs = [part for name, value in values.items() for part in (f"{{{name}}}" if name[1:] else name, value)]
        self.send("D", letter.encode() + words(*pairs))

    async def answer(self) -> tuple[str, bytes]:
        """One packet; GONE when the connection is at its end."""
        try:
            async with asyncio.timeout(PATIENCE):
                (length,) = struct.unpack("!I", await self.reader.readexactly(4))
                octets = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return GONE
        return octets[:1].decode("latin-1"), octets[1:]

    async def __call__(self, letter: str, data: bytes = b"") -> tuple[str, bytes]:
        """One command and its answer; CONTINUE where none is due."""
        self.send(letter, data)
        if self.agreed[2] & NR.get(letter, 0):
            return CONTINUE
        return await self.answer()

    async def connect(self, address: str = "192.0.2.10", name: str = "mail.example.net") -> tuple[str, bytes]:
        return await self("C", client(address, name))

    async def helo(self, name: str = "mail.example.net") -> tuple[str, bytes]:
        return await self("H", words(name))

    async def mail(self, sender: str = "s@example.net", *parameters: str) -> tuple[str, bytes]:
        return await self("M", words(f"<{sender}>", *parameters))

    async def rcpt(self, recipient: str = "one@example.org", *parameters: str) -> tuple[str, bytes]:
        return await self("R", words(f"<{recipient}>", *parameters))

    async def refused_rcpt(self, recipient: str, status: str, text: str) -> tuple[str, bytes]:
        """A recipient that the MTA has refused itself."""
        self.macros("R", rcpt_mailer="error", rcpt_host=status, rcpt_addr=text)
        return await self.rcpt(recipient)

    async def open(self, address: str = "192.0.2.10") -> None:
        """A client that may go on."""
        assert await self.connect(address) == CONTINUE
        assert await self.helo() == CONTINUE

    async def begin(self, *recipients: str) -> None:
        """A mail up to DATA, nothing refused."""
        assert await self.mail() == CONTINUE
        for recipient in recipients or ("one@example.org",):
            assert await self.rcpt(recipient) == CONTINUE
        assert await self("T") == CONTINUE

    async def content(self, text: bytes = b"Subject: x\r\n\r\ntext\r\n", *, chunk: int = 65535) -> None:
        """Header and body of a message, as an MTA takes it apart."""
        header, _, body = text.partition(b"\r\n\r\n")
        blank = bool(self.agreed[2] & 0x100000)
        for field in header.replace(b"\r\n ", b"\n ").replace(b"\r\n\t", b"\n\t").split(b"\r\n"):
            name, _, value = field.partition(b":")
            value = value if blank else value.removeprefix(b" ")
            assert await self("L", words(name, value)) == CONTINUE
        assert await self("N") == CONTINUE
        for at in range(0, len(body), chunk):
            assert await self("B", body[at : at + chunk]) == CONTINUE

    async def end(self, octets: bytes = b"") -> list[tuple[str, bytes]]:
        """End of message: all packets up to the one that decides."""
        self.send("E", octets)
        said = [await self.answer()]
        while said[-1][0] in "himp":
            said.append(await self.answer())
        return said

    async def message(self, text: bytes = b"Subject: x\r\n\r\ntext\r\n") -> list[tuple[str, bytes]]:
        await self.content(text)
        return await self.end()

    async def gone(self) -> bool:
        return await self.answer() == GONE
