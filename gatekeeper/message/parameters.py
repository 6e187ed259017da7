"""The value of Content-Type and its like, read as leniently as mail programs do (RFC 2045 §5.1, RFC 2231, RFC 2183).

Programs differ wherever the value is not quite right, and senders know it: so every value that some reader would take
is given, and what made them differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from gatekeeper.message.charset import decode
from gatekeeper.wire.headers import decode_words

PARAMETERS = 64
"""How many parameters of one field are read."""
OCTETS = 16_384
"""How much of a value is read."""


class Oddity(StrEnum):
    """What makes readers of one value differ."""

    REPEATED = "repeated_parameter"  # the same name twice, with different values
    CONTINUED = "continued_parameter"  # a plain parameter beside one in pieces or with a charset (RFC 2231 §3, §4)
    ENCODED_WORD = "encoded_word_in_parameter"  # which RFC 2047 §5 forbids, and most readers decode
    UNQUOTED = "unquoted_parameter"  # blanks or specials without quotes
    UNBALANCED = "unbalanced_quote"
    COMMENT = "comment"  # obsolete, and unknown to many
    NO_SEMICOLON = "no_semicolon"
    TOO_MANY = "too_many_parameters"


@dataclass(frozen=True, slots=True)
class Parameterised:
    """A value and its parameters.

    `value` is lower case, without comments and blanks ("text/html"). `parameters` has by its lower-case name each
    value that a reader could take, the likeliest first.
    """

    value: str
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    oddities: tuple[Oddity, ...] = ()

    def first(self, name: str) -> str:
        """The likeliest value, "" where there is none."""
        return self.parameters.get(name, ("",))[0]


_SIMPLE = re.compile(
    r'([A-Za-z0-9!#$&.+^_-]+(?:/[A-Za-z0-9!#$&.+^_-]+)?)(?:; ?([A-Za-z-]+)=(?:"([^"\\]*)"|([^\s";()\\]+)))?'
)
_VALUE = re.compile(r"\s*+([^;\s(]*+)")
_BETWEEN = re.compile(r"[\s;]*+")
_PARAMETER = re.compile(r'([^\s=;"()]{1,80}+)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)("?)|([^;]*+))', re.DOTALL)
_COMMENT = re.compile(
    r"\((?:[^()\\]|\\.)*+(\)?)", re.DOTALL
)  # without its end too: else each bracket looks for it again
_PIECE = re.compile(r"([^*]+)(?:\*([0-9]{1,3}))?(\*)?")
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_BARE = re.compile(r"[^\s\"]++")


def parse_parameterised(text: str) -> Parameterised:
    """Read an unfolded value. Linear in its length, never raises. What comes back is not to be changed."""
    return _read_known(text) if len(text) <= _SHORT else _read(text)


_SHORT = 200
"""Characters of a value that is kept: most parts of the world's mail are of a dozen types, written alike."""


def _read(text: str) -> Parameterised:
    simple = _SIMPLE.fullmatch(text)
    if simple is not None and (simple[2] is None or "=?" not in text):
        name, quoted, bare = simple[2], simple[3], simple[4]
        if name is None:
            return Parameterised(simple[1].lower())
        return Parameterised(simple[1].lower(), {name.lower(): (quoted if quoted is not None else bare,)})
    oddities: dict[Oddity, None] = {}
    if len(text) > OCTETS:
        text = text[:OCTETS]
        oddities[Oddity.TOO_MANY] = None
    if "(" in text and '"' not in text:  # inside quotes a bracket is a bracket
        bare_text = _COMMENT.sub(lambda comment: " " if comment[1] else comment[0], text)
        if bare_text != text:
            oddities[Oddity.COMMENT] = None
            text = bare_text
    found = _VALUE.match(text)
    value = found[1].strip("\"'").lower() if found else ""
    position = found.end() if found else 0
    given: list[tuple[str, str]] = []
    while position < len(text):
        position = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing too
        match = _PARAMETER.match(text, position)
        if match is None:
            position = text.find(";", position) + 1
            if not position:
                break
            continue
        if len(given) == PARAMETERS:
            oddities[Oddity.TOO_MANY] = None
            break
        if not given and ";" not in text[: match.start(1)]:
            oddities[Oddity.NO_SEMICOLON] = None
        given += _given(match, oddities)
        position = text.find(";", match.end()) + 1 or len(text)
    return Parameterised(value, _joined(given, oddities), tuple(oddities))


_read_known = lru_cache(maxsize=1024)(_read)


def _given(match: re.Match[str], oddities: dict[Oddity, None]) -> list[tuple[str, str]]:
    """The values that one parameter may be read as."""
    name = match[1].lower()
    if match[2] is not None:
        if not match[3]:
            oddities[Oddity.UNBALANCED] = None
            # Some end at the semicolon, some take what is there.
            whole = match[2]
            return [(name, whole.partition(";")[0].strip()), (name, whole.strip())]
        value = _PAIR.sub(r"\1", match[2]) if "\\" in match[2] else match[2]
        return [(name, value)] if value == match[2] else [(name, value), (name, match[2])]
    value = match[4].strip()
    word = _BARE.match(value)
    first = word[0] if word else ""
    if first != value:
        oddities[Oddity.UNQUOTED] = None
        return [(name, first), (name, value)]
    return [(name, value)]


def _joined(given: list[tuple[str, str]], oddities: dict[Oddity, None]) -> dict[str, tuple[str, ...]]:
    """Pieces put together, encoded words decoded, doubles side by side."""
    plain: dict[str, dict[str, None]] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    times: dict[str, int] = {}
    for name, value in given:
        match = _PIECE.fullmatch(name)
        if match is not None and (match[2] or match[3]):
            pieces.setdefault(match[1], {}).setdefault(int(match[2] or 0), (value, bool(match[3])))
            continue
        decoded = value
        if "=?" in value and (decoded := decode_words(value)) != value:
            oddities[Oddity.ENCODED_WORD] = None
            plain.setdefault(name, {})[decoded] = None
        plain.setdefault(name, {})[value] = None
        times[name] = times.get(name, 0) + 1
    for name, values in plain.items():
        if times[name] > 1 and len(values) > 1 and not oddities.keys() & {Oddity.UNQUOTED, Oddity.UNBALANCED}:
            oddities[Oddity.REPEATED] = None
        if name in pieces:
            oddities[Oddity.CONTINUED] = None
    found = {name: tuple(values) for name, values in plain.items()}
    for name, parts in pieces.items():
        whole = _whole(parts)
        found[name] = tuple(dict.fromkeys((whole, *found.get(name, ()))))
    return found


def _whole(parts: dict[int, tuple[str, bool]]) -> str:
    """Pieces in the order of their numbers, percent-decoded where they are marked so (RFC 2231 §4.1)."""
    charset, octets = "", bytearray()
    for n, index in enumerate(sorted(parts)):
        value, encoded = parts[index]
        if encoded and n == 0 and value.count("'") >= 2:
            charset, _, value = value.split("'", 2)
        octets += unquote_to_bytes(value) if encoded else value.encode("utf-8", "surrogateescape")
    return decode(bytes(octets), charset or "utf-8")
