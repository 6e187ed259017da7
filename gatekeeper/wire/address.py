"""The one strict reader of paths and domain names (RFC 5321 §4.1.2, RFC 6531 §3.3).

Address lists of header fields are read in `wire/mailboxes.py`, with these same parts.
"""

from __future__ import annotations

import re
from collections.abc import Container
from ipaddress import IPv4Address, IPv6Address

import idna

from gatekeeper.model import Address

PATH_OCTETS = 254
"""RFC 5321 §4.5.3.1.3: 256 with the angle brackets. The local part has no limit of its own: 64 octets (§4.5.3.1.1) is
what everybody must be able to take, and bounce addresses rewritten by SRS or VERP are longer every day."""
DOMAIN_OCTETS = 253
"""255 octets of RFC 1035 §2.3.4, written with dots."""

# Underscores stand in names of real hosts, and Postfix takes them; a hyphen at an end of a label it does not.
_LABEL = r"(?!-)[0-9A-Za-z_-]{1,63}+(?<!-)"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*+"
# Dots may stand anywhere: mobile carriers gave out "a..b" and "a.", and no two readers differ about what they mean.
_ATEXT = r"0-9A-Za-z!#$%&'*+\-/=?^_`{|}~."

_ORDINARY = re.compile(rf"([{_ATEXT}]++)@({_NAME})")
_DOMAIN = re.compile(rf"({_NAME})\.?")
_ATOM = re.compile(rf"[{_ATEXT}\u0080-\U0010ffff]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"')
_PAIR = re.compile(r"\\(.)")
_ROUTE = re.compile(rf"@{_NAME}\.?(?:,@{_NAME}\.?)*+:")
_ENCODED_WORD = re.compile(r"=\?[^?]*+\?[BbQq]\?")
_SEPARATOR = re.compile(r"([%!@:,])")
# Zero-width joiners spell words of Persian and the Indic scripts (RFC 5892 appendix A); no other invisible is let in.
_JOINERS = str.maketrans("", "", "\u200c\u200d")


class AddressError(ValueError):
    """Not a path or mailbox. The text is a short reason in printable ASCII, fit for a reply."""


def parse_path(text: str) -> Address:
    """What stands between the angle brackets of MAIL or RCPT.

    "" is the null sender; "postmaster" alone has no domain (§4.1.1.3). Source routes are read and left out (appendix
    C): `source_route` tells them, `mailbox_text` is the path without. A domain in U-labels becomes A-labels; whether
    SMTPUTF8 was asked for is the caller's to compare. Raises AddressError.
    """
    if len(text) > PATH_OCTETS:
        raise AddressError("address too long")
    match = _ORDINARY.fullmatch(text)
    if match is not None and not text[-1].isdigit():
        return Address(match[1], match[2].lower(), text)
    if not text:
        return Address("", "")
    return _uncommon(text)


def _uncommon(text: str) -> Address:
    if octets(text) > PATH_OCTETS:
        raise AddressError("address too long")
    if not printable(text):
        raise AddressError("unprintable character in address")
    if text.lower() == "postmaster":
        return Address(text, "", text)
    local, domain = parse_mailbox(mailbox_text(text))
    return Address(local, domain, text)


def parse_mailbox(text: str) -> tuple[str, str]:
    """`local@domain`, the local part quoted or not: both as in `model.Address`. Raises AddressError."""
    quoted = _QUOTED.match(text)
    if quoted is not None:
        local, end = _PAIR.sub(r"\1", quoted[1]), quoted.end()
        if not local:
            raise AddressError("empty local part")
    else:
        atom = _ATOM.match(text)
        if atom is None:
            raise AddressError("bad local part" if "@" in text else "address without domain")
        local, end = atom[0], atom.end()
    if text[end : end + 1] != "@":
        raise AddressError("bad local part" if "@" in text[end:] else "address without domain")
    return local, _parse_domain(text[end + 1 :])


def _parse_domain(text: str) -> str:
    domain = _normal_literal(text) if text.startswith("[") else normal_domain(text)
    if domain is None:
        raise AddressError("bad domain")
    return domain


def _normal_literal(text: str) -> str | None:
    """An address literal (§4.1.3) in one spelling; other kinds than IPv4 and IPv6 were never registered."""
    if not text.endswith("]"):
        return None
    inside = text[1:-1]
    try:
        if inside[:5].lower() == "ipv6:":
            # ipaddress takes "%zone"; a zone means nothing to anyone else.
            return None if "%" in inside else f"[ipv6:{IPv6Address(inside[5:])}]"
        return f"[{IPv4Address(inside)}]"
    except ValueError:
        return None


def normal_domain(text: str) -> str | None:
    """A domain name in the one spelling we compare: lower case, A-labels (UTS 46, nontransitional), no dot at the end.

    None for what is no domain name: IP addresses and literals, names that end in a number (RFC 3696 §2), bad labels,
    over-long ones, "". A single label is a name.
    """
    if len(text) > DOMAIN_OCTETS + 1:
        return None
    if not text.isascii():
        if not printable(text):
            return None
        text = ".".join(label if label.isascii() else _a_label(label) for label in text.split("."))
    match = _DOMAIN.fullmatch(text)
    if match is None:
        return None
    domain = match[1].lower()
    if len(domain) > DOMAIN_OCTETS or (domain[-1].isdigit() and domain.rpartition(".")[2].isdigit()):
        return None
    return domain


def _a_label(label: str) -> str:
    """The A-label of a U-label; "?", which is none, when there is none.

    What UTS 46 maps to plain ASCII or to several labels (full-width letters, other full stops) was never a U-label,
    and is read in two ways.
    """
    try:
        mapped = idna.encode(label, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return "?"
    return mapped if mapped.startswith("xn--") and "." not in mapped else "?"


def told_mailbox(text: str) -> Address:
    """A mailbox as a mail server tells it that has taken it: some write the local part without its quotes.

    What is no mailbox all the same (it was taken, and we do not deliver it) is all local part, so that it equals no
    address of anybody's.
    """
    try:
        return parse_path(text)
    except AddressError:
        pass
    local, at, domain = text.rpartition("@")
    if at and local:
        try:
            return Address(local, _parse_domain(domain), text)
        except AddressError:
            pass
    return Address(text, "", text)


def domain_of(text: str) -> str | None:
    """The domain of a mailbox written as text; None where there is none or the text is no mailbox."""
    try:
        return parse_path(text).domain or None
    except AddressError:
        return None


def source_route(address: Address) -> tuple[str, ...]:
    """The hosts of the path's source route, `@a,@b:`; () when it has none. To be ignored (RFC 5321 appendix C)."""
    route = _ROUTE.match(address.raw) if address.raw.startswith("@") else None
    return tuple(host.removesuffix(".").lower() for host in route[0][1:-1].split(",@")) if route else ()


def mailbox_text(path: str) -> str:
    """The path without its source route, otherwise as it came: what may go on to a next hop."""
    route = _ROUTE.match(path) if path.startswith("@") else None
    return path[route.end() :] if route else path


def hidden_domains(address: Address) -> tuple[str, ...]:
    """Hosts other than its domain that some mailer might send to (RFC 2505 §2.1), in the order in which they stand.

    Those of a source route, and in the local part whatever `%`, `!` or `@` sets off: what stands in
    `user%other@ours`, `other!user@ours` and `"user@other"@ours`.
    """
    hosts = source_route(address)
    if not any(sign in address.local for sign in "%!@"):
        return hosts
    words = _SEPARATOR.split(address.local)  # word, sign, word, sign, word
    signs = ["", *words[1::2], ""]
    return hosts + tuple(
        normal_domain(word) or word.lower()
        for word, before, after in zip(words[::2], signs, signs[1:], strict=False)
        if word and (after == "!" or before in {"%", "@"})
    )


def doubts_about(address: Address) -> tuple[str, ...]:
    """Why two readers of a path might see two mailboxes, or two domains; () where none could.

    A source route, an address within the local part, quoted pairs, encoded words. `%` and `!` are none: everybody
    takes what stands after the last `@` for the domain, and only that domain's own host gives them a meaning
    (RFC 5321 §2.3.11).
    """
    seen = {
        "route": bool(source_route(address)),
        "nested": "@" in address.local,
        "quoted_pair": '"' in address.raw and "\\" in address.raw,
        "encoded_word": _ENCODED_WORD.search(address.local) is not None,
    }
    return tuple(doubt for doubt, there in seen.items() if there)


def routes(address: Address, domains: Container[str]) -> str | None:
    """The first hidden domain that is not among `domains` (those we relay to), or None.

    `domains` has no default on purpose: of several hidden domains any one may be the stranger's. RFC 5321 §3.6.1
    allows to refuse source routes.
    """
    return next((domain for domain in hidden_domains(address) if domain not in domains), None)


def octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def printable(text: str) -> bool:
    """Whether nothing in it is a control, a lone surrogate, an unassigned or an invisible character."""
    return text.isprintable() or text.translate(_JOINERS).isprintable()
