"""What a message says: the text of its parts, seen and hidden, and its links. Read once, kept with the message."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO

from gatekeeper.message.attachments import PAGE, opens
from gatekeeper.message.filetypes import HEAD, ISO_HEAD, type_of
from gatekeeper.message.header import header_of
from gatekeeper.message.html import Page, Room, read_html
from gatekeeper.message.links import Gatherer, Links
from gatekeeper.message.mime import mime_of, parse_mime
from gatekeeper.message.parts import FURTHER, LIMITS, Ambiguity, LeftOut, Mime, Part
from gatekeeper.message.transfer import LONGEST, Encoding, code_in
from gatekeeper.model import Message
from gatekeeper.wire.headers import Header

AT_ONCE = 256 * 1024
"""Octets of a body that are read in one go; a larger one is read in a thread, so that nobody waits for it."""
MOST_LARGE = 2
"""Large bodies that are read at once in one process: each is in memory whole, and takes several times its size."""


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """The text of one part. `page` is set for HTML; `seen` is what people see, `hidden` what they do not."""

    part: Part
    seen: str
    hidden: str = ""
    page: Page | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """The whole reading of a message. `ambiguities` and `left_out` are those of its parts and of their texts."""

    mime: Mime
    texts: tuple[Text, ...]
    links: Links
    ambiguities: tuple[Ambiguity, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def seen(self) -> Iterator[str]:
        """The text that people see, one part after the other; of all readings."""
        return (text.seen for text in self.texts)


def content_of(message: Message) -> Content:
    """The reading of a message, made at the first call. Never raises.

    Takes as long as the message is large; `read_content` holds nobody up.
    """
    made: Content | None = message.memo.get("content")
    if made is None:
        made = message.memo["content"] = _read(message, mime_of(message))
    return made


async def read_content(message: Message) -> Content:
    """The same, a large body in a thread. Checks that ask at once share one reading; may be cancelled.

    Large ones wait for their turn; the caller's deadline ends that.
    """
    made: Content | None = message.memo.get("content")
    if made is not None:
        return made
    if message.body.size <= AT_ONCE:
        return content_of(message)
    reading: asyncio.Task[Content] | None = message.memo.get("content_reading")
    if reading is None:
        reading = message.memo["content_reading"] = asyncio.create_task(_read_large(message), name="content")
        reading.add_done_callback(_noticed)
    return await asyncio.shield(reading)


_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()


async def _read_large(message: Message) -> Content:
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(MOST_LARGE)):
        return await _read_in_a_thread(message)


async def _read_in_a_thread(message: Message) -> Content:
    whole = BytesIO()  # which gives its octets away without a copy
    most, encoding, read = 0, Encoding.AS_IS, 0
    for chunk in message.body.chunks():  # here and not in the thread: the file is closed when the session ends
        if not most:
            most, encoding = _worth_reading(header_of(message), chunk)
        whole.write(chunk)
        read += code_in(chunk, encoding)
        if read > most:
            break
        await asyncio.sleep(0)
    cut = whole.tell() < min(message.body.size, LIMITS.body)
    mime, content = await asyncio.to_thread(_parse_large, message, whole.getvalue(), cut=cut)
    message.memo["mime"], message.memo["content"] = mime, content
    return content


def _worth_reading(header: Header, beginning: bytes) -> tuple[int, Encoding]:
    """How many octets of a body are of use to anybody, by its beginning, and in which encoding they are counted.

    A body that is one text is read as far as its end is looked for, and of a single file nobody looks at more than the
    head, unless there is something inside.
    """
    for part in parse_mime(header, beginning, _OUTERMOST).parts:
        if part.container or part.number:
            break
        head = part.decoded(ISO_HEAD)
        if len(head) < HEAD or part.encoding is Encoding.UUENCODE or type_of(head).opens or opens(part):
            break
    else:
        most = max(PAGE, ISO_HEAD, FURTHER * LIMITS.text if part.is_text else 0)
        return most * LONGEST, part.encoding
    return LIMITS.body, Encoding.AS_IS


_OUTERMOST = replace(LIMITS, depth=0)
"""What a message is by its own header; whatever is a container is not opened for that."""


def _parse_large(message: Message, body: bytes, *, cut: bool) -> tuple[Mime, Content]:
    mime = parse_mime(header_of(message), body)
    if cut and any(part.is_text for part in mime.leaves):
        mime = replace(mime, left_out=tuple(dict.fromkeys([*mime.left_out, LeftOut.TEXT])))
    return mime, _read(message, mime)


def _noticed(task: asyncio.Task[Content]) -> None:
    """Nobody may be waiting any more; what was raised is then nobody's business."""
    if not task.cancelled():
        task.exception()


def _read(message: Message, mime: Mime) -> Content:
    noted = dict.fromkeys(mime.ambiguities)
    left_out = dict.fromkeys(mime.left_out)
    gatherer = Gatherer()
    gatherer.header(header_of(message))
    texts = []
    room, html = LIMITS.text, Room()
    parts = [part for part in mime.leaves if part.is_text]
    for part in parts:
        most = room if part is parts[-1] else room // 2  # what follows a long one is read too, if not whole
        if most <= 0:
            left_out[LeftOut.TEXT] = None
            break
        text, whole = part.read(most, noted)
        if not whole:
            left_out[LeftOut.TEXT] = None
        room -= len(text)
        texts.append(_text(part, text, gatherer, html))
    if html.spent:
        left_out[LeftOut.HTML] = None
    return Content(mime, tuple(texts), gatherer.links(), tuple(noted), tuple(left_out))


def _text(part: Part, text: str, gatherer: Gatherer, room: Room) -> Text:
    if part.is_html or text[:2000].lstrip("\ufeff \t\r\n")[:15].lower().startswith(_PAGE):
        if room.spent:  # the links of its source are found all the same
            gatherer.text(text)
            return Text(part, text)
        page = read_html(text, room)
        gatherer.page(page)
        return Text(part, page.seen, page.hidden, page)
    gatherer.text(text)
    return Text(part, text)


_PAGE = ("<!doctype html", "<html", "<head>", "<body")
"""How a text begins that some programs show as HTML whatever it is called."""
