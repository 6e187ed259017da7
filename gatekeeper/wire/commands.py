"""Command lines: the verb, and the arguments of MAIL and RCPT (RFC 5321 §4.1, 1870, 6152, 3461, 6531). Pure.

Paths and parameters keep their case: only the next hop knows what a local part or an ENVID means. What is not a
well-formed command raises `CommandError`, which carries the reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gatekeeper.model import Address, Reply
from gatekeeper.wire.address import AddressError, parse_path

LINE_LIMIT: Final = 512
"""Octets of a command line with its CRLF (RFC 5321 §4.5.3.1.4)."""
LONG_LINE_LIMIT: Final = 2560
"""The same where extensions make it longer: MAIL and RCPT (RFC 3461 and 6531 ask for some 1,100 more), XCLIENT."""
LONG_VERBS: Final = frozenset({"MAIL", "RCPT", "XCLIENT", "XFORWARD"})

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x80-\x9f]")
_PATH: Final = re.compile(r'[ \t]*<((?:[^<>"]|"(?:[^"\\]|\\.)*+")*+)>')
_PARAMETER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\s=]+))?")
_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_ORCPT: Final = re.compile(r"[A-Za-z0-9-]+;[^\s]+")


class CommandError(Exception):
    """A command that is not well formed; `reply` is its answer."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.reply = Reply.of(code, text)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`verb` is in upper case; `argument` as it came, without blanks around it ("" for none)."""

    verb: str
    argument: str


@dataclass(frozen=True, slots=True)
class PathArgument:
    """The argument of MAIL or RCPT. `path` is what stood between the angle brackets, `parameters` "KEY=value".

    `size` is what SIZE said; `utf8` whether SMTPUTF8 was asked for.
    """

    address: Address
    path: str
    parameters: tuple[str, ...] = ()
    size: int | None = None
    utf8: bool = False


def split(line: bytes) -> CommandLine:
    """A command line without its line end. Raises CommandError for what cannot be a command."""
    verb, _, argument = line.partition(b" ")
    if not verb.isalnum():
        raise CommandError(500, "5.5.2 Syntax error, command unrecognized")
    name = verb.upper().decode("ascii", "replace")
    if len(line) + 2 > (LONG_LINE_LIMIT if name in LONG_VERBS else LINE_LIMIT):
        raise CommandError(500, "5.5.2 Line too long")
    try:
        text = argument.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandError(500, "5.5.2 Neither ASCII nor UTF-8") from None
    if _CONTROL.search(text):
        raise CommandError(500, "5.5.2 Control character in command")
    if not text.isascii() and name not in LONG_VERBS:
        raise CommandError(501, "5.5.2 Only ASCII is allowed here")
    return CommandLine(name, text.strip(" \t"))


def parse_mail(argument: str, offered: frozenset[str]) -> PathArgument:
    """Of "FROM:<path> [parameters]"; `offered` are the keywords of the extensions that EHLO names."""
    path, parameters = _take_apart(argument, "FROM:")
    values = _values(parameters, _MAIL, offered)
    utf8 = "SMTPUTF8" in values
    _ascii_unless(utf8, argument)
    size = values.get("SIZE")
    return PathArgument(
        address=_address(path, code=501, enhanced="5.1.7", whose="sender"),
        path=path,
        parameters=parameters,
        size=int(size) if size else None,
        utf8=utf8,
    )


def parse_rcpt(argument: str, offered: frozenset[str], *, utf8: bool) -> PathArgument:
    """Of "TO:<path> [parameters]"; `utf8` is whether MAIL had asked for SMTPUTF8."""
    path, parameters = _take_apart(argument, "TO:")
    _values(parameters, _RCPT, offered)
    _ascii_unless(utf8, argument)
    if not path:
        raise CommandError(501, "5.1.3 A recipient cannot be empty")
    return PathArgument(
        address=_address(path, code=501, enhanced="5.1.3", whose="recipient"), path=path, parameters=parameters
    )


def _take_apart(argument: str, keyword: str) -> tuple[str, tuple[str, ...]]:
    verb = "MAIL" if keyword == "FROM:" else "RCPT"
    if argument[: len(keyword)].upper() != keyword:
        raise CommandError(501, f"5.5.4 Syntax: {verb} {keyword}<address>")
    match = _PATH.match(argument, len(keyword))
    if match is None:
        raise CommandError(501, f"5.5.4 Syntax: {verb} {keyword}<address>")
    rest = argument[match.end() :]
    if rest and rest[0] not in " \t":
        raise CommandError(501, f"5.5.4 Syntax: {verb} {keyword}<address> [parameters]")
    return match[1], tuple(word for word in rest.replace("\t", " ").split(" ") if word)


def _address(path: str, *, code: int, enhanced: str, whose: str) -> Address:
    try:
        return parse_path(path)
    except AddressError as error:
        raise CommandError(code, f"{enhanced} Bad {whose} address: {error}") from None


def _ascii_unless(utf8: bool, argument: str) -> None:
    if not utf8 and not argument.isascii():
        raise CommandError(553, "5.6.7 An address that is not ASCII needs SMTPUTF8")


# --- parameters ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Parameter:
    """Which extension it belongs to, and whether a value (None when it has none) is well formed."""

    extension: str
    well_formed: Callable[[str | None], bool]


def _xtext(value: str | None, limit: int) -> bool:
    return value is not None and len(value) <= limit and _XTEXT.fullmatch(value) is not None


def _notify(value: str | None) -> bool:
    words = (value or "").upper().split(",")
    return words == ["NEVER"] or (set(words) <= {"SUCCESS", "FAILURE", "DELAY"} and len(set(words)) == len(words))


_MAIL: Final = {
    "SIZE": _Parameter("SIZE", lambda v: v is not None and v.isascii() and v.isdigit() and len(v) <= 20),
    "BODY": _Parameter("8BITMIME", lambda v: v is not None and v.upper() in {"7BIT", "8BITMIME"}),
    "SMTPUTF8": _Parameter("SMTPUTF8", lambda v: v is None),
    "RET": _Parameter("DSN", lambda v: v is not None and v.upper() in {"FULL", "HDRS"}),
    "ENVID": _Parameter("DSN", lambda v: _xtext(v, 100)),
}
_RCPT: Final = {
    "NOTIFY": _Parameter("DSN", _notify),
    "ORCPT": _Parameter("DSN", lambda v: v is not None and len(v) <= 500 and _ORCPT.fullmatch(v) is not None),
}


def _values(
    parameters: tuple[str, ...], known: dict[str, _Parameter], offered: frozenset[str]
) -> dict[str, str | None]:
    values: dict[str, str | None] = {}
    for parameter in parameters:
        match = _PARAMETER.fullmatch(parameter)
        if match is None:
            raise CommandError(501, "5.5.4 Bad parameter syntax")
        keyword = match[1].upper()
        meaning = known.get(keyword)
        if meaning is None or meaning.extension not in offered:
            raise CommandError(555, "5.5.4 Unsupported parameter")
        if keyword in values or not meaning.well_formed(match[2]):
            raise CommandError(501, f"5.5.4 Bad {keyword} parameter")
        values[keyword] = match[2]
    return values
