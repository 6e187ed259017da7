"""A message -> its traits: numbers that a model has weights for, each with a name that people can read.

A trait is a name such as "word:invoice" or "tag:table", hashed with CRC-32: the same everywhere and in every process,
and a name cannot be read back from it. What tells one site's or one corpus' mail from another's is no trait: Received,
To, dates, host names of Message-ID, who wrote it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from zlib import crc32

from gatekeeper.classifier import fields, structure
from gatekeeper.classifier.words import words_of
from gatekeeper.message.content import content_of
from gatekeeper.message.domains import registered_domain
from gatekeeper.message.header import author_of, header_of
from gatekeeper.model import Message
from gatekeeper.wire.headers import decode_words

TEXT = 16_000
"""Characters of the text that people see, and of that they do not, which are read for words."""
SUBJECT = 500
MOST = 4096
"""Traits of one message at most, words among them."""

_Group = tuple[bytes, Sequence[bytes]]
_Hashed = tuple[bytes, dict[int, bytes]]


@dataclass(frozen=True, slots=True)
class Traits:
    """The traits of one message, each once, 32 bits each: `words` of its subject and text, and all `others`."""

    words: tuple[int, ...]
    others: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return self.words + self.others


def traits_of(message: Message) -> Traits:
    """The traits of a message, made at the first call and kept with it. Never raises.

    Reads the message's content, which takes as long as it is large: whoever must not wait has called
    `await read_content(message)` before.
    """
    made: Traits | None = message.memo.get("traits")
    if made is None:
        words, others = [_hashed(group) for group in _groups(message)]
        message.memo["trait_names"] = (*words, *others)
        of_words = _together(words)
        of_others = _together(others)
        for number in of_words.keys() & of_others.keys():
            del of_others[number]
        made = Traits(tuple(of_words)[: MOST // 2], tuple(of_others)[: MOST // 2])
        message.memo["traits"] = made
    return made


def names_of(message: Message, wanted: Collection[int]) -> dict[int, str]:
    """The names of those of a message's traits that are `wanted`, for people. Costs nothing to speak of."""
    traits_of(message)
    groups: Sequence[_Hashed] = message.memo["trait_names"]
    found: dict[int, str] = {}
    for number in wanted:
        for prefix, values in groups:
            value = values.get(number)
            if value is not None:
                found[number] = (prefix + value).decode("utf-8", "replace")
                break
    return found


def _hashed(groups: Iterable[_Group]) -> list[_Hashed]:
    """Each value by the CRC-32 of the prefix and it."""
    return [
        (prefix, dict(zip(map(crc32, values, repeat(crc32(prefix))), values, strict=True))) for prefix, values in groups
    ]


def _together(groups: Iterable[_Hashed]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for _, values in groups:
        found = found | values if found else dict(values)
    return found


def _groups(message: Message) -> tuple[list[_Group], list[_Group]]:
    """The names of all traits, by what they begin with: those that are words, and the others."""
    content = content_of(message)
    header = header_of(message)
    subject_field = header.first("subject")
    subject = decode_words(subject_field.text)[:SUBJECT] if subject_field is not None else ""
    seen = _joined(text.seen for text in content.texts)
    hidden = _joined(text.hidden for text in content.texts)
    in_subject, in_text, in_hidden = words_of(subject), words_of(seen), words_of(hidden)
    anchors = words_of(" ".join([link.text for link in content.links][:100]))
    author = author_of(message)
    domain = registered_domain(author.domain or (author.domains[0] if author.domains else ""))
    made = [
        *fields.of_header(header, author, domain),
        *fields.of_text("subject", subject, in_subject),
        *fields.of_text("text", seen, in_text),
        *structure.of_parts(content),
        *structure.of_pages(content.texts),
        *structure.of_links(content, domain),
    ]
    if in_hidden.found:
        made.append("hidden words:" + structure.size(len(set(in_hidden.found) - set(in_text.found))))
    words: list[_Group] = [
        (b"word:", in_text.found),
        (b"subject:", in_subject.found),
        (b"begins:", words_of(seen.lstrip()[:80]).found),
        (b"anchor:", anchors.found[:200]),
    ]
    return words, [(b"", [name.encode("utf-8", "replace") for name in dict.fromkeys(made)])]


def _joined(texts: Iterable[str]) -> str:
    room, taken = TEXT, []
    for text in texts:
        if room <= 0:
            break
        taken.append(text[:room])
        room -= len(text)
    return "\n".join(taken)
