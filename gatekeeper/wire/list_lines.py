"""One line of the operator's lists, text <-> value: ACTION ABOUT PATTERN [until WHEN] [because REASON].

    deny    address    192.0.2.0/24   until 2027-01-31   because it floods our forms
    allow   sender     @partner.example
    exempt  name       *.outbound.example.net            # a comment

An empty line and one that begins with "#" say nothing; after " #" the rest of a line is a comment, but not within a
reason, which goes to the end of its line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Final

from gatekeeper.wire.address import AddressError, normal_domain, parse_mailbox

ACTIONS: Final = ("deny", "allow", "exempt")
ABOUT: Final = ("address", "name", "helo", "sender", "recipient")
LINE_MOST: Final = 1000
WILD_MOST: Final = 4
"""Stars in one pattern."""
REASON_MOST: Final = 200

_FORM: Final = "ACTION ABOUT PATTERN, such as: deny address 192.0.2.0/24 until 2027-01-31 because it floods us"
_WILD_NAME = re.compile(r"[0-9a-z_.*-]{1,253}")
_WILD_LOCAL = re.compile(r"[^\s@\"]{0,128}")
_UNTIL = re.compile(r"(?P<day>\d{4}-\d{2}-\d{2})(?P<time>[T ]\d{2}:\d{2}(:\d{2})?)?(?P<zone>Z|[+-]\d{2}:\d{2})?")


class BadLine(ValueError):
    """Not a line of ours; the text is one sentence with the mend."""


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One entry: `action` is of ACTIONS, `about` of ABOUT, `pattern` in the one spelling that is compared.

    `place` is "FILE:LINE", or where else it stands. `until` is Unix time, None for an entry without an end. `reason` is
    the operator's, "" for none.
    """

    action: str
    about: str
    pattern: str
    place: str = ""
    reason: str = ""
    until: float | None = None

    def ended(self, now: float) -> bool:
        return self.until is not None and self.until <= now


def parse_line(text: str, place: str = "") -> ListEntry | None:
    """The entry of a line, or None where it has none. Raises BadLine."""
    if len(text) > LINE_MOST:
        raise BadLine(f"longer than {LINE_MOST} characters: shorten the reason")
    text = text.strip()
    if not text or text.startswith("#"):
        return None
    head, because, reason = _split(text)
    words = head.split()
    if len(words) < 3:
        raise BadLine(f'"{_shown(text)}" is no entry: write {_FORM}')
    action, about, pattern, *rest = words
    action, about = action.lower(), about.lower()
    if action not in ACTIONS:
        raise BadLine(f'"{_shown(action)}" is no action: write {_either(ACTIONS)}')
    if about not in ABOUT:
        raise BadLine(f'"{_shown(about)}" is nothing that can be listed: write {_either(ABOUT)}')
    until: float | None = None
    if rest:
        if rest[0].lower() != "until" or len(rest) < 2:
            raise BadLine(
                f'"{_shown(" ".join(rest))}" after the pattern is not understood: write until DATE, because REASON'
            )
        until = parse_until(" ".join(rest[1:]))
    reason = " ".join(reason.split())
    if because and not reason:
        raise BadLine('nothing follows "because": write the reason, or leave the word out')
    if not reason.isprintable() or len(reason) > REASON_MOST:
        raise BadLine(f"the reason must be printable and at most {REASON_MOST} characters long")
    return ListEntry(action, about, parse_pattern(about, pattern), place, reason, until)


def write_line(entry: ListEntry) -> str:
    """The line that is read as that entry; an end is written to the second."""
    text = f"{entry.action} {entry.about} {entry.pattern}"
    if entry.until is not None:
        text += f" until {write_until(entry.until)}"
    return text + (f" because {entry.reason}" if entry.reason else "")


def write_until(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_until(text: str) -> float:
    """Unix time. A day alone is through to its end; without a zone it is UTC. Raises BadLine."""
    match = _UNTIL.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadLine(
            f'"{_shown(text)}" is no date: write 2027-01-31 (to the end of that day, UTC) or 2027-01-31T12:00Z'
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return (moment if match["time"] else moment + timedelta(days=1)).timestamp()
    except OverflowError:
        raise BadLine(f'"{_shown(text)}" is too far away: leave until out for an entry without an end') from None


def parse_pattern(about: str, text: str) -> str:
    """The pattern in the spelling that is compared. Raises BadLine."""
    if about == "address":
        return _network(text)
    if about in ("name", "helo"):
        return _name(text, literal=about == "helo")
    return _mailbox(text, about)


def about_of(text: str) -> str:
    """What a pattern is most likely about, by its form."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        return "sender" if "@" in text else "name"
    return "address"


def _network(text: str) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise BadLine(f'"{_shown(text)}" is no address: write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32') from None
    if "/" in text and ip_address(text.partition("/")[0]) != network.network_address:
        raise BadLine(f'"{text}" names a host and a network: write {network} or {text.partition("/")[0]}')
    if network.prefixlen == 0:
        raise BadLine(f'"{text}" is everybody: that is no list')
    if network.version == 6 and network.network_address.ipv4_mapped is not None and network.prefixlen >= 96:
        return f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}"
    return str(network)


def _name(text: str, *, literal: bool) -> str:
    text = text.lower()
    if literal and text.startswith("["):
        if not (text.endswith("]") and text.isascii() and len(text) <= 60):
            raise BadLine(f'"{_shown(text)}" is no address literal: write [192.0.2.1]')
        return text
    if text.startswith("."):
        text = "*" + text
    if "*" in text:
        return _wild(text, _WILD_NAME)
    name = normal_domain(text)
    if name is None:
        raise BadLine(f'"{_shown(text)}" is no name: write mail.example.net or *.example.net')
    return name


def _mailbox(text: str, about: str) -> str:
    if text.startswith("<") and text.endswith(">") and len(text) > 2:
        text = text[1:-1]
    if text in ("<>", "@", "*", "*@*", "@*"):
        raise BadLine(f'"{text}" is nobody or everybody: it cannot be listed (RFC 5321 section 4.5.5)')
    local, at, domain = text.rpartition("@")
    if not at:
        raise BadLine(f'"{_shown(text)}" is no {about}: write user@example.org, or @example.org for all of a domain')
    local, domain = local.lower(), domain.lower()
    domain = "*" + domain if domain.startswith(".") else domain
    if "*" in local or "*" in domain:
        local = "" if local == "*" else local
        if not _WILD_LOCAL.fullmatch(local):
            raise BadLine(f'"{_shown(text)}" is no pattern: * stands for any characters but "@" and blanks')
        return _wild(f"{local}@{domain}" if local else f"@{domain}", None, name=domain)
    if not local:
        return "@" + _name(domain, literal=False)
    try:
        local, domain = parse_mailbox(f"{local}@{domain}")
    except AddressError as error:
        raise BadLine(f'"{_shown(text)}" is no {about}: {error}; write user@example.org or @example.org') from None
    return f"{local}@{domain}".lower()


def _wild(text: str, form: re.Pattern[str] | None, *, name: str = "") -> str:
    if text.count("*") > WILD_MOST:
        raise BadLine(f'"{_shown(text)}" has more than {WILD_MOST} stars')
    if not (form or _WILD_NAME).fullmatch(name or text):
        raise BadLine(f'"{_shown(text)}" is no pattern: write names in ASCII, with * for any characters')
    return text


def _split(text: str) -> tuple[str, bool, str]:
    """What stands before the reason, whether there is a reason, and the reason; comments are left out."""
    match = re.search(r"\s(?:(#)|because(?:\s|$))", text, re.IGNORECASE)
    if match is None:
        return text, False, ""
    return text[: match.start()], match[1] is None, "" if match[1] else text[match.end() :]


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _shown(text: str) -> str:
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 60 else text[:57] + "..."
