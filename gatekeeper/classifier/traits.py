"""A message -> its traits: numbers that a model has weights for, each with a name that people can read.

A trait is a name such as "word:invoice" or "tag:table", hashed with CRC-32: the same everywhere and in every process,
and a name cannot be read back from it. What tells one site's or one corpus' mail from another's is no trait: Received,
To, dates, host names of Message-ID, who wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
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

NAMES_KEPT = 4096
"""Names of traits that are no words whose numbers are kept; where there are more, they are learned anew."""

_Group = tuple[bytes, Sequence[bytes], Sequence[int]]
"""What names begin with, what follows that in each, and the numbers of both."""


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
        words, others = _names(message)
        numbers = list(map(_numbers.__getitem__, others))
        message.memo["trait_names"] = words, others, numbers
        of_words = list(chain.from_iterable([group[2] for group in words]))
        of_others = numbers
        if len({*of_words, *of_others}) < len(of_words) + len(of_others):  # two names have the same number
            known = dict.fromkeys(of_words)
            of_words = list(known)
            of_others = [number for number in dict.fromkeys(of_others) if number not in known]
        made = Traits(tuple(of_words[: MOST // 2]), tuple(of_others[: MOST // 2]))
        message.memo["traits"] = made
    return made


def names_of(message: Message, wanted: Iterable[int]) -> dict[int, str]:
    """The names of those of a message's traits that are `wanted`, for people. Costs little where few are."""
    traits_of(message)
    groups: Sequence[_Group]
    groups, others, of_others = message.memo["trait_names"]
    left, found = set(wanted), {}
    for prefix, values, numbers in groups:
        here = left.intersection(numbers)
        for number in here:
            found[number] = (prefix + values[numbers.index(number)]).decode("utf-8", "replace")
        left -= here
    for number in left.intersection(of_others):
        found[number] = _octets(others[of_others.index(number)]).decode()
    return found


class _Numbers(dict[str, int]):
    """The CRC-32 of each name, kept for when it is met again: most of those that are no words are in other mail too."""

    def __missing__(self, name: str) -> int:
        if len(self) >= NAMES_KEPT:
            self.clear()
        number = self[name] = crc32(_octets(name))
        return number


_numbers = _Numbers()


def _octets(name: str) -> bytes:
    return name.encode("utf-8", "replace")


def _group(prefix: bytes, values: Sequence[bytes]) -> _Group:
    """With the CRC-32 of the prefix and each value."""
    return prefix, values, list(map(crc32, values, repeat(crc32(prefix))))


def _names(message: Message) -> tuple[list[_Group], list[str]]:
    """The names of all traits: those of words by what they begin with, and the others."""
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
    words = [
        _group(b"word:", in_text.found),
        _group(b"subject:", in_subject.found),
        _group(b"begins:", words_of(seen.lstrip()[:80]).found),
        _group(b"anchor:", anchors.found[:200]),
    ]
    return words, list(dict.fromkeys(made))


def _joined(texts: Iterable[str]) -> str:
    room, taken = TEXT, []
    for text in texts:
        if room <= 0:
            break
        taken.append(text[:room])
        room -= len(text)
    return "\n".join(taken)
