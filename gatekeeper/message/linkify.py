"""Links and mail addresses in plain text, as mail programs make them clickable. Linear, capped."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gatekeeper.message.domains import LONGEST_NAME, registered_domain
from gatekeeper.message.urls import LONGEST

DOTS = 5000
"""How many places of one text are looked at, that could be in a link."""
FOUND = 1000
"""How many links of one text are read."""


@dataclass(frozen=True, slots=True)
class InText:
    """What was found in a text. `links` have a scheme or begin with "www.", `bare` are names without either."""

    links: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    left_out: int = 0
    looked: int = 0  # how many places were looked at


_SCHEME_BEFORE = re.compile(r"(?:h(?:tt|xx)ps?|ftp)\Z", re.IGNORECASE)
_TARGET = re.compile(r"[^\s<>\"`{}|^\x00-\x1f]*+")
_TRAILING = ".,;:!?'*)]}>»“”‘’…"
_WORD_BACKWARDS = re.compile(r"[\w@.+%=~-]*+", re.ASCII)
_WORD_AFTER = re.compile(r"[\w.-]*+(?:/[^\s<>\"`{}|^]*+)?", re.ASCII)
_BEFORE = 100
_ADDRESS = re.compile(r"[\w.+%=~-]{1,64}@(?:[\w-]{1,63}\.)+[a-z][a-z0-9-]{1,62}", re.ASCII | re.IGNORECASE)
_NAME = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+([a-z][a-z0-9-]{1,30}|xn--[a-z0-9-]{1,59})", re.IGNORECASE
)


def links_in(text: str, dots: int = DOTS) -> InText:
    """Everything in `text` that a mail program would make a link of, at no more than so many places. Never raises."""
    links, taken, schemes, beyond = _with_scheme(text, dots)
    bare, addresses, names = _without(text, taken, dots)
    left_out = beyond + max(0, len(links) - FOUND) + max(0, len(bare) - FOUND) + max(0, len(addresses) - FOUND)
    return InText(tuple(links)[:FOUND], tuple(bare)[:FOUND], tuple(addresses)[:FOUND], left_out, schemes + names)


def _with_scheme(text: str, dots: int) -> tuple[dict[str, None], list[tuple[int, int]], int, int]:
    """Links that say what they are, where they stand, how many places were looked at and how many there are beyond."""
    links: dict[str, None] = {}
    taken: list[tuple[int, int]] = []
    position, looked = text.find("://"), 0
    while position >= 0 and looked < dots:
        looked += 1
        scheme = _SCHEME_BEFORE.search(text[max(0, position - 5) : position])
        end = position + 3
        if scheme is not None:
            end = _target_end(text, end)
            start = position - len(scheme[0])
            if end > position + 3:
                links[scheme[0].lower().replace("xx", "tt") + text[position:end]] = None
                taken.append((start, end))
        if len(links) > FOUND:
            break
        position = text.find("://", end)
    beyond = text.count("://", position) if position >= 0 and looked >= dots else 0
    return links, taken, looked, beyond


def _target_end(text: str, start: int) -> int:
    match = _TARGET.match(text, start, start + LONGEST)
    end = match.end() if match is not None else start
    surplus = text.count(")", start, end) - text.count("(", start, end)
    while end > start and text[end - 1] in _TRAILING:
        if text[end - 1] == ")":
            if surplus <= 0:
                break  # a bracket that opened inside it
            surplus -= 1
        end -= 1
    return end


def _without(text: str, taken: list[tuple[int, int]], dots: int) -> tuple[dict[str, None], dict[str, None], int]:
    """Names and mail addresses that stand alone, outside the places that are taken."""
    bare: dict[str, None] = {}
    addresses: dict[str, None] = {}
    position, index, looked = text.find("."), 0, 0
    while position >= 0 and looked < dots:
        looked += 1
        while index < len(taken) and taken[index][1] <= position:
            index += 1
        if index < len(taken) and taken[index][0] <= position:
            position = text.find(".", taken[index][1])
            continue
        if not (text[position + 1 : position + 2].isalnum() and text[position - 1 : position].isalnum()):
            position = text.find(".", position + 1)
            continue
        match = _WORD_AFTER.match(text, position, position + LONGEST)
        end = match.end() if match is not None else position + 1
        floor = max(0, position - _BEFORE, taken[index - 1][1] if index else 0)
        if (end == position + 1 and "." not in text[floor:position]) or (
            not text[position - 1].isascii() and "@" not in text[position:end]
        ):  # nothing that is a name or an address can have this dot in it
            position = text.find(".", end)
            continue
        before = _WORD_BACKWARDS.match(text[floor:position][::-1])
        start = position - before.end() if before is not None else position
        word = text[start:end].rstrip(_TRAILING + "-")
        _sort_in(word, bare, addresses)
        position = text.find(".", max(end, position + 1))
    return bare, addresses, looked


def _sort_in(word: str, bare: dict[str, None], addresses: dict[str, None]) -> None:
    if "@" in word:
        found = _ADDRESS.search(word)
        if found is not None:
            addresses[found[0].lower()] = None
        return
    name, slash, rest = word.partition("/")
    match = _NAME.fullmatch(name)
    if match is None:
        return
    suffix = match[1]
    if not (suffix.islower() or name.isupper()):
        return  # "end.Next": two sentences without a blank
    name = name.lower()
    if len(name) <= LONGEST_NAME and registered_domain(name):
        bare[name + slash + rest] = None
