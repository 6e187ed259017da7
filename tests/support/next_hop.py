"""A scripted MTA on loopback, for tests: says what it is told, dies where it is told, and keeps what it was sent.

    async with FakeNextHop() as hop:
        hop.recipients["no@example.org"] = "550-5.1.1 No such user\n550 5.1.1 really"
        hop.replies["MAIL"] = ["451 4.3.0 later"]          # consumed one by one, then the normal answer
        hop.die("dot")                                     # once, at the next final dot
        hop.hold("DATA")                                   # DATA is not answered before hop.go("DATA")
        ... talk to hop.url ...
        assert hop.messages[0].data == b"..."
        assert hop.verbs == ["EHLO", "MAIL", "RCPT", "DATA", ".", "QUIT"]

Nothing here sleeps: `await hop.saw("RCPT", times=2)` and `await hop.left(1)` wait for what happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from gatekeeper.wire.proxy import ProxyHeader, ProxyReader

Said = str | list[str]
"""A reply as one string (the same each time; several lines with a newline between), or a list of them to use up."""

ALL = {
    "PIPELINING": "",
    "SIZE": "10240000",
    "8BITMIME": "",
    "SMTPUTF8": "",
    "DSN": "",
    "ENHANCEDSTATUSCODES": "",
    "CHUNKING": "",
}
XCLIENT = {"XCLIENT": "NAME ADDR PORT PROTO HELO LOGIN REVERSE_NAME DESTADDR DESTPORT"}
XFORWARD = {"XFORWARD": "NAME ADDR PORT PROTO HELO IDENT SOURCE"}


@dataclass(slots=True)
class Delivered:
    """One message that the fake took (its final reply was, or would have been, a 2xx)."""

    sender: str  # between the angle brackets
    sender_parameters: tuple[str, ...]
    recipients: list[str]  # accepted ones
    recipient_parameters: list[tuple[str, ...]]
    data: bytes  # unstuffed, with its final CRLF, without the dot
    xclient: dict[str, str]  # raw attribute values in force
    xforward: dict[str, str]
    connection: int  # 1 is the first
    secure: bool = False  # over TLS


@dataclass(slots=True)
class _Session:
    """What one connection is in the middle of."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    buffer: bytearray = field(default_factory=bytearray)
    helo: str | None = None
    sender: tuple[str, tuple[str, ...]] | None = None
    recipients: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    xclient: dict[str, str] = field(default_factory=dict)
    xforward: dict[str, str] = field(default_factory=dict)
    secure: bool = False

    def reset(self) -> None:
        self.sender = None
        self.recipients = []
        self.xforward = {}


class _Died(Exception):
    """The script says: close the connection here."""


@dataclass
class FakeNextHop:
    """Listens from `async with` on; `url` is what `next_hop` is set to."""

    capabilities: dict[str, str] = field(default_factory=lambda: dict(ALL))
    lmtp: bool = False
    unix: Path | None = None  # LMTP over a UNIX socket instead of TCP
    greeting: str = "220 fake.example ESMTP"
    replies: dict[str, Said] = field(
        default_factory=dict
    )  # verb -> reply; "." is the final one, "connect" the greeting
    recipients: dict[str, Said] = field(default_factory=dict)  # path -> reply to RCPT
    finals: dict[str, Said] = field(default_factory=dict)  # LMTP: path -> final reply
    relay_domains: set[str] | None = None  # outside clients get a 554 for any other domain; None takes every domain
    xclient_once: bool = False  # offer XCLIENT until it has been used, as Postfix does
    early: tuple[int, str] | None = None  # after that many octets of message text, say this and close
    tls: ssl.SSLContext | None = None  # offer STARTTLS; what was said before it is forgotten
    proxy: bool = False  # a PROXY header comes first; see `headers`

    log: list[str] = field(default_factory=list)  # every command line, decoded latin-1, and "." for a final dot
    lines: list[tuple[int, str]] = field(default_factory=list)  # the same with the connection's number
    reads: list[bytes] = field(default_factory=list)  # what each read from a socket returned
    messages: list[Delivered] = field(default_factory=list)
    headers: list[ProxyHeader] = field(default_factory=list)  # of each connection, where `proxy` is set
    connections: int = 0
    closed: int = 0

    def __post_init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._port = 0
        self._deaths: dict[str, list[int]] = {}  # point -> [how often to pass first, how often to die]
        self._holds: dict[str, asyncio.Event] = {}
        self._body_limit: int | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    # -- the script ---------------------------------------------------------------------------------------------

    def die(self, point: str, *, after: int = 0, times: int = 1, octets: int = 0) -> None:
        """Close the connection at `point`: "connect", a verb (instead of its reply), "body" (after `octets`), "dot".

        `after` is how often the point is passed unharmed first. At "dot" the message has been
        taken. A "body" that is shorter than `octets` passes.
        """
        if point == "body":
            self._body_limit = octets
        else:
            self._deaths[point] = [after, times]

    def hold(self, point: str) -> None:
        """Do not answer at `point` ("connect", a verb, "body", ".") before `go(point)`."""
        self._holds[point] = asyncio.Event()

    def go(self, point: str) -> None:
        self._holds.pop(point).set()

    # -- what happened ------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        if self.unix is not None:
            return f"lmtp+unix://{self.unix}"
        return f"{'lmtp' if self.lmtp else 'smtp'}://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def verbs(self) -> list[str]:
        return [line.split(" ")[0].split(":")[0].upper() for line in self.log]

    async def saw(self, prefix: str, *, times: int = 1) -> None:
        """Until that many commands beginning so have come."""
        await self._until(lambda: sum(line.upper().startswith(prefix.upper()) for line in self.log) >= times)

    async def left(self, count: int = 1) -> None:
        """Until that many connections have ended."""
        await self._until(lambda: self.closed >= count)

    async def _until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not done():
                self._changed.clear()
                await self._changed.wait()

    def drop_all(self) -> None:
        """Close every connection now, as a restarted MTA does."""
        for writer in list(self._writers):
            writer.close()

    async def stop(self) -> None:
        """Stop listening and drop everybody; `start` opens the same port again."""
        assert self._server is not None
        self._server.close()
        self.drop_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start(self) -> None:
        if self.unix is not None:
            self.lmtp = True
            self._server = await asyncio.start_unix_server(self._connected, self.unix)
        else:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
            self._port = self.port

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # -- the conversation ---------------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        session = _Session(self.connections, reader, writer)
        try:
            await self._converse(session)
        except (_Died, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass  # stop(); the server's task group has nobody to tell
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self.closed += 1
            self._changed.set()

    async def _converse(self, session: _Session) -> None:
        if self.proxy:
            await self._proxy_header(session)
        await self._answer(session, "connect", self.greeting)
        while True:
            line = await self._line(session)
            text = line.decode("latin-1")
            self._note(session, text)
            verb = text.split(" ")[0].upper()
            argument = text[len(verb) :].strip()
            if verb in ("EHLO", "HELO", "LHLO"):
                await self._answer(session, verb, self._hello(session, verb, argument))
            elif verb == "MAIL":
                await self._mail(session, argument)
            elif verb == "RCPT":
                await self._rcpt(session, argument)
            elif verb == "DATA":
                await self._data(session)
            elif verb in ("XCLIENT", "XFORWARD"):
                await self._attributes(session, verb, argument)
            elif verb == "STARTTLS" and self.tls is not None and not session.secure:
                await self._start_tls(session, self.tls)
            elif verb == "RSET":
                session.reset()
                await self._answer(session, verb, "250 2.0.0 Ok")
            elif verb == "NOOP":
                await self._answer(session, verb, "250 2.0.0 Ok")
            elif verb == "QUIT":
                await self._answer(session, verb, "221 2.0.0 Bye")
                return
            else:
                await self._answer(session, verb, "502 5.5.2 Error: command not recognized")

    async def _proxy_header(self, session: _Session) -> None:
        reader = ProxyReader()
        header = None
        while header is None:
            await self._more(session)
            header = reader.feed(bytes(session.buffer))
            session.buffer.clear()
        assert reader.rest == b"", "the server speaks first"
        self.headers.append(header)

    async def _start_tls(self, session: _Session, context: ssl.SSLContext) -> None:
        said = await self._answer(session, "STARTTLS", "220 2.0.0 Ready to start TLS")
        if not said.startswith("220"):
            return
        try:
            await session.writer.start_tls(context)
        except OSError:
            raise _Died from None
        session.secure = True
        session.helo = None
        session.reset()

    def _hello(self, session: _Session, verb: str, name: str) -> str:
        if (verb == "LHLO") != self.lmtp:
            return "500 5.5.1 Error: wrong protocol"
        session.helo = name
        capabilities = dict(self.capabilities)
        if self.xclient_once and not session.xclient:
            capabilities |= XCLIENT
        if self.tls is not None and not session.secure:
            capabilities["STARTTLS"] = ""
        offers = [f"{keyword} {value}".strip() for keyword, value in capabilities.items()]
        lines = ["fake.example", *(offers if verb != "HELO" else [])]
        return "\n".join(f"250{'-' if at < len(lines) - 1 else ' '}{line}" for at, line in enumerate(lines))

    async def _mail(self, session: _Session, argument: str) -> None:
        if session.helo is None or session.sender is not None:
            await self._answer(session, "MAIL", "503 5.5.1 Error: bad sequence")
            return
        path, parameters = _path(argument)
        said = await self._answer(session, "MAIL", "250 2.1.0 Ok")
        if said.startswith("2"):
            session.sender = path, parameters

    async def _rcpt(self, session: _Session, argument: str) -> None:
        if session.sender is None:
            await self._answer(session, "RCPT", "503 5.5.1 Error: need MAIL command")
            return
        path, parameters = _path(argument)
        normal = "250 2.1.5 Ok"
        domain = path.rpartition("@")[2].lower()
        if self.relay_domains is not None and domain not in self.relay_domains and self._outside(session):
            normal = f"554 5.7.1 <{path}>: Relay access denied"
        if path in self.recipients:
            normal = _next(self.recipients, path, normal)
        said = await self._answer(session, "RCPT", normal)
        if said.startswith("2"):
            session.recipients.append((path, parameters))

    @staticmethod
    def _outside(session: _Session) -> bool:
        address = session.xclient.get("ADDR", "127.0.0.1")
        with contextlib.suppress(ValueError):
            return not ip_address(address.upper().removeprefix("IPV6:")).is_loopback
        return True

    async def _attributes(self, session: _Session, verb: str, argument: str) -> None:
        pairs = dict(item.split("=", 1) for item in argument.split())
        once = verb == "XCLIENT" and self.xclient_once and not session.xclient
        if verb not in self.capabilities and not once:
            await self._answer(session, verb, "550 5.7.1 Error: insufficient authorization")
        elif session.sender is not None:
            await self._answer(session, verb, "503 5.5.1 Error: MAIL transaction in progress")
        elif verb == "XCLIENT":
            said = await self._answer(session, verb, "220 fake.example ESMTP")
            if said.startswith("220"):
                session.xclient.update(pairs)
                session.reset()
                session.helo = None
        else:
            said = await self._answer(session, verb, "250 2.0.0 Ok")
            if said.startswith("2"):
                session.xforward.update(pairs)

    async def _data(self, session: _Session) -> None:
        if not session.recipients:
            await self._answer(session, "DATA", "554 5.5.1 Error: no valid recipients")
            return
        said = await self._answer(session, "DATA", "354 End data with <CR><LF>.<CR><LF>")
        if not said.startswith("354"):
            return
        data = await self._body(session)
        self._note(session, ".")
        if self.lmtp:
            finals = [_next(self.finals, path, "250 2.0.0 Ok") for path, _ in session.recipients]
        else:
            finals = ["250 2.0.0 Ok: queued as 4XfAkE"]
        planned = [self._plan(".", final) for final in finals]
        if any(said.startswith("2") for said in planned):
            self._deliver(session, data)
        session.reset()
        self._pass("dot")
        await self._held(".")
        for final in planned:
            await self._say(session, final)

    def _deliver(self, session: _Session, data: bytes) -> None:
        assert session.sender is not None
        self.messages.append(
            Delivered(
                sender=session.sender[0],
                sender_parameters=session.sender[1],
                recipients=[path for path, _ in session.recipients],
                recipient_parameters=[parameters for _, parameters in session.recipients],
                data=data,
                xclient=dict(session.xclient),
                xforward=dict(session.xforward),
                connection=session.number,
                secure=session.secure,
            )
        )

    async def _body(self, session: _Session) -> bytes:
        """Up to CRLF.CRLF, without its dot, dots taken away."""
        buffer = session.buffer
        searched = 0
        while True:
            if self._body_limit is not None and len(buffer) >= self._body_limit:
                self._body_limit = None
                raise _Died
            if self.early is not None and len(buffer) >= self.early[0]:
                await self._say(session, self.early[1])
                raise _Died
            if buffer.startswith(b".\r\n"):
                del buffer[:3]
                return b""
            if (end := buffer.find(b"\r\n.\r\n", max(0, searched - 4))) >= 0:
                break
            searched = len(buffer)
            await self._held("body")
            await self._more(session)
        data = bytes(buffer[: end + 2])
        del buffer[: end + 5]
        return (b"\r\n" + data).replace(b"\r\n.", b"\r\n")[2:]

    # -- octets -------------------------------------------------------------------------------------------------

    async def _line(self, session: _Session) -> bytes:
        while (end := session.buffer.find(b"\r\n")) < 0:
            await self._more(session)
        line = bytes(session.buffer[:end])
        del session.buffer[: end + 2]
        return line

    async def _more(self, session: _Session) -> None:
        data = await session.reader.read(1 << 18)
        if not data:
            raise _Died
        self.reads.append(data)
        session.buffer += data

    def _note(self, session: _Session, line: str) -> None:
        self.log.append(line)
        self.lines.append((session.number, line))
        self._changed.set()

    def _plan(self, point: str, normal: str) -> str:
        return _next(self.replies, point, normal)

    def _pass(self, point: str) -> None:
        death = self._deaths.get(point)
        if death is None:
            return
        if death[0] > 0:
            death[0] -= 1
        elif death[1] > 0:
            death[1] -= 1
            raise _Died

    async def _held(self, point: str) -> None:
        if (event := self._holds.get(point)) is not None:
            await event.wait()

    async def _answer(self, session: _Session, point: str, normal: str) -> str:
        self._pass(point)
        await self._held(point)
        said = self._plan(point, normal)
        await self._say(session, said)
        if said.startswith("421"):
            raise _Died
        return said

    async def _say(self, session: _Session, said: str) -> None:
        session.writer.write("".join(f"{line}\r\n" for line in said.split("\n")).encode("utf-8", "surrogateescape"))
        await session.writer.drain()


def _next(table: dict[str, Said], key: str, normal: str) -> str:
    said = table.get(key, normal)
    if isinstance(said, str):
        return said
    return said.pop(0) if said else normal


def _path(argument: str) -> tuple[str, tuple[str, ...]]:
    """The path and the parameters of "FROM:<path> A=1 B" (good enough for what a correct client sends)."""
    after = argument.partition(":")[2].strip()
    path, _, rest = after.rpartition(">")
    return path.removeprefix("<"), tuple(rest.split())
