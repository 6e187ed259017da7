"""What stands between blanks in a text that people see, split once for all who look for words or phrases in it.

Splitting is most of what a short message costs those who read its words. So rules, which want the text in one spelling,
and the classifier, which wants each word once, share it. Of texts that are not ASCII each of them makes another thing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gatekeeper.message.content import content_of
from gatekeeper.model import Message

MOST: Final = 16_000
"""Characters of all texts of a message up to which they are split here: what is kept with it takes room."""
LOWER: Final = bytes([0x20 if sign < 0x20 or sign == 0x7F else sign for sign in range(128)]).lower() + bytes(
    range(128, 256)
)
"""What becomes of an octet: blanks of control characters, small letters of capitals; of others nothing."""


class Tokens(NamedTuple):
    """Of one text in lower case: the `line` of all that stands between blanks, one blank between two; how `many`
    there are; and the `different` ones in their order, as keys.
    """

    line: bytes
    many: int
    different: dict[bytes, None]


def tokens_of(message: Message) -> tuple[Tokens, ...] | None:
    """Those of each text, made at the first call; None for a message with other texts than ASCII, or with long ones."""
    if "tokens" not in message.memo:
        texts = [text.seen for text in content_of(message).texts]
        short = sum(map(len, texts)) <= MOST and all(map(str.isascii, texts))
        message.memo["tokens"] = tuple(map(_tokens, texts)) if short else None
    made: tuple[Tokens, ...] | None = message.memo["tokens"]
    return made


def _tokens(text: str) -> Tokens:
    split = text.encode("ascii").translate(LOWER).split()
    return Tokens(b" ".join(split), len(split), dict.fromkeys(split))
