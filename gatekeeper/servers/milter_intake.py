"""One message of a milter connection, put together again from header fields and pieces of body."""

from __future__ import annotations

from typing import Final

from gatekeeper.model import Message, Reply
from gatekeeper.servers.receiving import HEADER_TOO_LONG, NO_ROOM, TOO_MANY_FIELDS
from gatekeeper.servers.spool import HeaderTooLong, Spool, SpoolFull
from gatekeeper.wire.headers import MOST_FIELDS
from gatekeeper.wire.milter import HeaderField
from gatekeeper.wire.milter_answers import Agreement, BodyText, header_line

EMPTY_LINE: Final = b"\r\n"


class Intake:
    """Takes fields, then the body; `message` once all is there; in any case `close`.

    A message that cannot be taken is not cut off, since most pieces get no answer: its rest is passed over, and
    `refusal` says why.
    """

    __slots__ = ("_agreed", "_draft", "_fields", "_header_limit", "_header_size", "_text", "refusal")

    def __init__(self, spool: Spool, agreed: Agreement) -> None:
        self._agreed = agreed
        self._draft = spool.draft()
        self._header_limit = spool.header_limit
        self._header_size = 0
        self._fields: list[bytes] = []
        self._text: BodyText | None = None  # once the header is complete
        self.refusal: Reply | None = None

    @property
    def in_body(self) -> bool:
        return self._text is not None

    def field(self, field: HeaderField) -> None:
        """One more, in the message's order."""
        if self.refusal is not None:
            return
        line = header_line(field, self._agreed)
        self._header_size += len(line)
        if self._header_size > self._header_limit:
            self._refuse(HEADER_TOO_LONG)
        elif len(self._fields) >= MOST_FIELDS:
            self._refuse(TOO_MANY_FIELDS)
        else:
            self._fields.append(line)

    async def end_header(self) -> None:
        """May be called twice."""
        if self._text is None:
            self._text = BodyText()
            header = b"".join(self._fields)
            self._fields.clear()
            await self._write(header + EMPTY_LINE)

    async def body(self, chunk: bytes) -> None:
        await self.end_header()
        if self._text is not None:
            await self._write(self._text.feed(chunk))

    async def message(self) -> Message | None:
        """All of it; None when it is refused. Its body can be read until `close`."""
        await self.end_header()
        text = self._text
        if text is None:
            return None
        await self._write(text.end())
        if self.refusal is not None:
            return None
        try:
            return await self._draft.finish(("bare_lf",) if text.bare_lf else ())
        except SpoolFull:
            self._refuse(NO_ROOM)
            return None

    def close(self) -> None:
        """Give the room back. May be called twice."""
        self._fields.clear()
        self._draft.close()

    async def _write(self, text: bytes) -> None:
        if self.refusal is not None or not text:
            return
        try:
            await self._draft.write(text)
        except HeaderTooLong:
            self._refuse(HEADER_TOO_LONG)
        except SpoolFull:
            self._refuse(NO_ROOM)

    def _refuse(self, reply: Reply) -> None:
        self.refusal = reply
        self.close()
