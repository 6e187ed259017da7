"""Do links pretend: show one name and lead to another, look like a brand's or ours, hide where they lead?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from gatekeeper.checks.base import Tools
from gatekeeper.message import links as reading
from gatekeeper.message.content import read_content
from gatekeeper.message.domains import registered_domain
from gatekeeper.message.links import Link, Place, Trait
from gatekeeper.message.lookalike import imitated
from gatekeeper.model import Finding, Kind, Mail, Missing, Rule, setting
from gatekeeper.wire.address import normal_domain

SHOWN = 8
"""Links that stand in one finding."""


@dataclass(frozen=True, slots=True)
class LinkEvidence:
    """`count` links, and the hosts of the first few. `shown` is what people see instead: the domains in the links'
    texts, or those that the names look like.
    """

    count: int
    hosts: tuple[str, ...]
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LinksEvidence:
    """`kept` links were read, `left_out` were beyond the budget."""

    kept: int
    left_out: int


_BY_TRAIT = {
    Trait.DECEPTIVE: "LINK_DECEPTIVE",
    Trait.LOOK_ALIKE: "LINK_LOOK_ALIKE",
    Trait.NUMERIC: "LINK_NUMERIC",
    Trait.ADDRESS: "LINK_ADDRESS",
    Trait.USER_INFO: "LINK_USER_INFO",
    Trait.ENCODED_HOST: "LINK_ENCODED_HOST",
    Trait.SHORTENER: "LINK_SHORTENER",
    Trait.PORT: "LINK_PORT",
}
_OURS, _LEFT_OUT = "LINK_LIKE_OURS", "LINKS_LEFT_OUT"


@dataclass(frozen=True)  # without slots, for what is worked out once
class Links:
    """[checks.links]"""

    name: ClassVar[str] = "links"

    ignore: tuple[str, ...] = setting((), "Domains whose links are not looked at, with all names under them.")
    shorteners: tuple[str, ...] = setting((), "More names that hide where a link leads, beside the well-known ones.")

    def __post_init__(self) -> None:
        for key in ("ignore", "shorteners"):
            for domain in getattr(self, key):
                if normal_domain(domain) is None:
                    raise ValueError(f'{key}: {domain!r} is no domain; write a name such as "example.org"')

    def rules(self) -> Sequence[Rule]:
        return _RULES

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        if mail.message is None:
            return ()
        return list(self._found((await read_content(mail.message)).links, tools))

    def _found(self, links: reading.Links, tools: Tools) -> Iterator[Finding]:
        by_rule: dict[str, list[Link]] = {}
        ours = [domain for domain in {registered_domain(each) for each in tools.domains} if domain]
        alike: dict[str, str] = {}
        for link in links:
            if link.place is Place.HEADER or self._ignored(link.url.host):
                continue
            for trait in link.traits:
                if (rule := _BY_TRAIT.get(trait)) is not None:
                    by_rule.setdefault(rule, []).append(link)
            if not self._more_shorteners.isdisjoint((link.url.host, link.url.domain)):
                by_rule.setdefault(_BY_TRAIT[Trait.SHORTENER], []).append(link)
            domain = link.url.domain
            if domain and domain not in alike and domain not in ours:
                alike[domain] = imitated(domain, ours)
                if alike[domain]:
                    by_rule.setdefault(_OURS, []).append(link)
        for rule, found in by_rule.items():
            yield _finding(rule, found, alike)
        if links.left_out:
            evidence = LinksEvidence(len(links), links.left_out)
            yield Finding(_LEFT_OUT, evidence, f"{evidence.left_out} links beyond the {evidence.kept} that were read")

    @cached_property
    def _unread(self) -> frozenset[str]:
        return frozenset(domain for each in self.ignore if (domain := normal_domain(each)))

    @cached_property
    def _more_shorteners(self) -> frozenset[str]:
        return frozenset(domain for each in self.shorteners if (domain := normal_domain(each)))

    def _ignored(self, host: str) -> bool:
        return any(host == each or host.endswith(f".{each}") for each in self._unread)


def _finding(rule: str, found: Sequence[Link], alike: dict[str, str]) -> Finding:
    hosts = tuple(dict.fromkeys(link.url.host for link in found))[:SHOWN]
    if rule == _OURS:
        shown = tuple(dict.fromkeys(alike[link.url.domain] for link in found))
    elif rule == _BY_TRAIT[Trait.LOOK_ALIKE]:
        shown = tuple(dict.fromkeys(link.imitates for link in found if link.imitates))
    elif rule == _BY_TRAIT[Trait.DECEPTIVE]:
        shown = tuple(dict.fromkeys(link.shown for link in found))
    elif rule == _BY_TRAIT[Trait.USER_INFO]:
        shown = tuple(dict.fromkeys(link.url.user for link in found))
    else:
        shown = ()
    evidence = LinkEvidence(len(found), hosts, shown[:SHOWN])
    text = f"{hosts[0]}{f' and {len(found) - 1} more' if len(found) > 1 else ''}"
    return Finding(rule, evidence, f"{text}, shown as {shown[0]}" if shown else text)


# Honest newsletters count clicks under other names, and honest people shorten what is long: each alone says little.
_RULES = (
    Rule("LINK_DECEPTIVE", 1.2, "A link's text shows another domain than the one it leads to.", Kind.CONTENT),
    Rule("LINK_LOOK_ALIKE", 1.5, "A link leads to a name that is made to look like another.", Kind.CONTENT),
    Rule(_OURS, 1.5, "A link leads to a name that looks like one of our own domains.", Kind.CONTENT),
    Rule("LINK_NUMERIC", 1.5, "A link leads to an IP address, written so that people cannot read it.", Kind.CONTENT),
    Rule("LINK_ADDRESS", 0.7, "A link leads to an IP address.", Kind.CONTENT),
    Rule(
        "LINK_USER_INFO", 0.8, "A link has something before an @, which people take for where it leads.", Kind.CONTENT
    ),
    Rule("LINK_ENCODED_HOST", 0.8, "A link's host is percent-encoded, for which there is no reason.", Kind.CONTENT),
    Rule("LINK_SHORTENER", 0.2, "A link leads over a service that hides where it goes.", Kind.CONTENT),
    Rule("LINK_PORT", 0.3, "A link names a port that web servers do not use.", Kind.CONTENT),
    Rule(_LEFT_OUT, 0.0, "There are more links in the message than are read.", Kind.CONTENT),
)
