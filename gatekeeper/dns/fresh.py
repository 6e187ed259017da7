"""Questions whose answers come from no cache of ours: tests of lists and of the nameservers themselves (dnspython).

c-ares keeps a hidden cache; what is to be fresh does not go through it. Dearer than the resolver: not for mail.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, cast

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from gatekeeper.dns.answer import Answer, Status
from gatekeeper.dns.health import Probe, Target
from gatekeeper.dns.nameservers import host_and_port, impossible

TRIES: Final = 3
"""How often a question is sent, to one server after another."""

PUBLIC_RESOLVERS: Final = {
    str(ip_address(address)): owner
    for owner, addresses in {
        "Google": ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"),
        "Cloudflare": (
            *("1.1.1.1", "1.0.0.1", "1.1.1.2", "1.0.0.2", "1.1.1.3", "1.0.0.3"),
            *("2606:4700:4700::1111", "2606:4700:4700::1001", "2606:4700:4700::1112", "2606:4700:4700::1002"),
            *("2606:4700:4700::1113", "2606:4700:4700::1003"),
        ),
        "Quad9": (
            *("9.9.9.9", "149.112.112.112", "9.9.9.10", "149.112.112.10", "9.9.9.11", "149.112.112.11"),
            *("2620:fe::fe", "2620:fe::9", "2620:fe::10", "2620:fe::fe:10", "2620:fe::11", "2620:fe::fe:11"),
        ),
        "OpenDNS": ("208.67.222.222", "208.67.220.220", "2620:119:35::35", "2620:119:53::53"),
        "AdGuard": ("94.140.14.14", "94.140.15.15", "2a10:50c0::ad1:ff", "2a10:50c0::ad2:ff"),
        "Level 3": ("4.2.2.1", "4.2.2.2", "4.2.2.3", "4.2.2.4", "4.2.2.5", "4.2.2.6"),
        "DNS4EU": ("86.54.11.1", "86.54.11.100", "2a13:1001::86:54:11:1", "2a13:1001::86:54:11:100"),
    }.items()
    for address in addresses
}
"""Resolvers that everybody may ask. DNS lists refuse them, or answer wrongly, because they cannot see who asks."""


class Fresh:
    """Asks the nameservers ("address:port") straight, each time anew. Safe for many tasks at once."""

    def __init__(
        self,
        nameservers: Sequence[str],
        *,
        timeout: float,
        dice: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.nameservers = tuple(nameservers)
        self._timeout = timeout
        self._dice = dice or random.SystemRandom()
        self._clock = clock

    async def ask(self, name: str, rtype: str = "A") -> Answer:
        """Records as `Answer` has them, for A and AAAA; of other types as text. Never raises for what a server does."""
        name = name.lower().removesuffix(".")
        why_not = impossible(name)
        if why_not is not None or not self.nameservers:
            return Answer(why_not or Status.TIMEOUT)
        worst = Answer(Status.TIMEOUT)
        first = self._dice.randrange(len(self.nameservers))
        for number in range(TRIES):
            server = self.nameservers[(first + number) % len(self.nameservers)]
            answer = await self._once(name, rtype, server)
            if answer.certain:
                return answer
            if answer.status is not Status.TIMEOUT:
                worst = answer
        return worst

    async def probe(self, target: Target) -> Probe:
        """What the list says about its test points, and about something that cannot be listed, asked at once."""
        listed, not_listed = target.list.test_points(target.family)
        labels = [listed, not_listed, target.list.control_labels(target.family, self._dice)]
        began = self._clock()
        answers = await asyncio.gather(*(self._about(each, target) for each in labels))
        seconds = self._clock() - began
        control = answers[2]
        return Probe(target, answers[0], answers[1], control or Answer(Status.TIMEOUT), seconds)

    async def _about(self, labels: str, target: Target) -> Answer | None:
        return await self.ask(f"{labels}.{target.list.suffix}") if labels else None

    async def _once(self, name: str, rtype: str, server: str) -> Answer:
        host, port = host_and_port(server)
        query = dns.message.make_query(dns.name.from_text(name), rtype, use_edns=0, payload=1232)
        try:
            response, _ = await dns.asyncquery.udp_with_fallback(
                query, host, self._timeout, port, ignore_unexpected=True
            )
        except dns.exception.Timeout:
            return Answer(Status.TIMEOUT)
        except dns.exception.DNSException:
            return Answer(Status.NONSENSE)
        except (OSError, EOFError, ValueError):  # nobody is there, or the connection broke
            return Answer(Status.TIMEOUT)
        return _read(response, rtype)


def _read(response: dns.message.Message, rtype: str) -> Answer:
    rcode = response.rcode()
    if rcode == dns.rcode.NXDOMAIN:
        return Answer(Status.NXDOMAIN)
    if rcode != dns.rcode.NOERROR:
        return Answer(Status.REFUSED)
    try:
        chain = cast("dns.message.QueryMessage", response).resolve_chaining()
    except dns.exception.DNSException:
        return Answer(Status.NONSENSE)
    if chain.answer is None:
        return Answer(Status.NODATA if chain.cnames or not response.answer else Status.NONSENSE)
    wanted = dns.rdatatype.from_text(rtype)
    records = tuple(str(each) for each in chain.answer if each.rdtype == wanted)
    return Answer(Status.OK, records, float(chain.minimum_ttl)) if records else Answer(Status.NONSENSE)


@dataclass(frozen=True, slots=True)
class ResolverProbe:
    """What the nameservers did when they were tested. `public` names whose they are, where they are everybody's."""

    answers: bool
    invents: bool = False
    public: str = ""
    why: str = ""

    @property
    def faults(self) -> tuple[str, ...]:
        """In words that are labels too."""
        found = (("silent", not self.answers), ("invents", self.invents), ("public", bool(self.public)))
        return tuple(name for name, wrong in found if wrong)


FAULTS: Final = ("silent", "invents", "public")


async def examine_resolver(fresh: Fresh) -> ResolverProbe:
    """Do the nameservers answer, invent an address for what cannot exist (RFC 6761 §6.4), belong to everybody?"""
    made_up = f"gatekeeper-{secrets.token_hex(8)}.invalid"
    invented, root = await asyncio.gather(fresh.ask(made_up), fresh.ask("org", "NS"))
    hosts = [host_and_port(each)[0] for each in fresh.nameservers]
    public = next((f"{PUBLIC_RESOLVERS[host]} ({host})" for host in hosts if host in PUBLIC_RESOLVERS), "")
    why = ""
    if not (invented.certain or root.certain):
        why = f"asked for {made_up}: {invented.status.value}; for org NS: {root.status.value}"
    elif invented.records:
        why = f"has {', '.join(invented.records[:3])} for {made_up}"
    elif public:
        why = f"{public} is a public resolver, which lists refuse"
    return ResolverProbe(
        answers=invented.certain or root.certain, invents=bool(invented.records), public=public, why=why
    )
