"""An SMTP client for tests that sends exactly the octets it is told, and reads replies whole."""

from __future__ import annotations

import asyncio
import socket
import ssl
from types import TracebackType
from typing import Self

PATIENCE = 20.0
"""Seconds until a test that waits for an answer that never comes has failed."""
GONE = "<gone>"
LETTER = (
    "From: Anna <anna@office.example>\r\nTo: One <one@example.org>\r\nSubject: lunch tomorrow?\r\n"
    "Message-ID: <lunch@office.example>\r\n\r\nHi,\r\n\r\nthe usual place, at twelve?\r\n\r\nAnna\r\n"
)
"""Mail that nothing speaks against but that it has no Date."""
SERVER = "mx.example.org"
"""The name that its certificate must have."""


class SmtpClient:
    """`async with SmtpClient(port) as client`; the greeting is read then, into `greeting`."""

    def __init__(
        self,
        port: int | str,
        *,
        greet: bool = True,
        source: str = "127.0.0.1",
        first: bytes = b"",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`first` goes before everything else, as a PROXY header does; with `tls` TLS does."""
        self.port = port
        self.source = source
        self.greet = greet
        self.first = first
        self.tls = tls
        self.greeting = ""

    async def __aenter__(self) -> Self:
        if isinstance(self.port, str):
            self.reader, self.writer = await asyncio.open_unix_connection(self.port)
        else:
            self.reader, self.writer = await asyncio.open_connection(
                "127.0.0.1",
                self.port,
                local_addr=(self.source, 0),
                ssl=self.tls,
                server_hostname=None if self.tls is None else SERVER,
            )
        self.writer.write(self.first)
        if self.greet:
            self.greeting = await self.reply()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()

    async def reply(self) -> str:
        """One reply: its lines with their codes, joined by newlines; GONE when the connection is at its end."""
        lines: list[str] = []
        while True:
            try:
                line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
            except ConnectionError:
                return GONE
            if not line:
                return GONE
            assert line.endswith(b"\r\n"), line
            lines.append(line[:-2].decode())
            if line[3:4] != b"-":
                return "\n".join(lines)

    async def replies(self, count: int) -> list[str]:
        return [await self.reply() for _ in range(count)]

    def send(self, text: str | bytes) -> None:
        self.writer.write(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)

    async def __call__(self, line: str) -> str:
        """One command and its reply."""
        self.send(f"{line}\r\n")
        return await self.reply()

    async def say(self, *lines: str) -> list[str]:
        """Several commands, one after the other."""
        return [await self(line) for line in lines]

    async def burst(self, *lines: str) -> list[str]:
        """Several commands in one write."""
        self.send("".join(f"{line}\r\n" for line in lines))
        return await self.replies(len(lines))

    async def message(self, text: str | bytes = "Subject: x\r\n\r\ntext\r\n") -> str:
        """The text after a 354, with its final dot."""
        self.send(text)
        self.send(".\r\n")
        return await self.reply()

    async def mail(
        self,
        text: str | bytes = "Subject: x\r\n\r\ntext\r\n",
        *,
        to: str = "one@example.org",
        sender: str = "s@example.net",
    ) -> str:
        """A whole mail after EHLO; the answer to its message."""
        assert (await self(f"MAIL FROM:<{sender}>"))[:3] == "250"
        assert (await self(f"RCPT TO:<{to}>"))[:3] == "250"
        assert (await self("DATA"))[:3] == "354"
        return await self.message(text)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """STARTTLS and the handshake, as a client does them that waits for the answer."""
        assert (await self("STARTTLS"))[:3] == "220"
        await self.shake_hands(context)

    async def shake_hands(self, context: ssl.SSLContext) -> None:
        await asyncio.wait_for(self.writer.start_tls(context, server_hostname=SERVER), PATIENCE)

    def half_close(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        """Cut the connection with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()

    async def gone(self) -> bool:
        """Whether the server has closed, with nothing more said."""
        return await self.reply() == GONE
