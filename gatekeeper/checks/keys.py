"""The names under which the store knows clients, networks, senders and the domains that vouch for mail. Pure."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from gatekeeper.mailauth.dkim import DkimResults
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.model import Address, IPAddress, Mail
from gatekeeper.store.base import History

MOST_IDENTITIES = 4
"""Of one mail that are looked at: one of SPF, the others of signatures, from the top."""


@lru_cache(maxsize=4096)  # both are asked for several times in each session
def client_key(address: IPAddress) -> str:
    """One client: an IPv4 address, or the /64 that an IPv6 host moves in."""
    if address.version == 4:
        return f"ip:{address}"
    return f"ip:{ipaddress.ip_network((int(address), 64), strict=False)}"


@lru_cache(maxsize=4096)
def network_key(address: IPAddress) -> str:
    """Its neighbourhood: a /24 or a /56."""
    length = 24 if address.version == 4 else 56
    return f"net:{ipaddress.ip_network((int(address), length), strict=False)}"


LONG_GOOD = (20, 14 * 86400.0)
"""Messages accepted, and seconds since the first one, after which a client is known as good; a tenth may be refused."""


def long_good(history: History, now: float) -> bool:
    """Whether a client's past is long and good."""
    messages, seconds = LONG_GOOD
    return (
        history.accepted >= messages and history.refused * 10 <= history.accepted and 0 < history.first <= now - seconds
    )


def mailbox(address: Address) -> str:
    """A mailbox in one spelling: in lower case, since no two people share one that differs by case alone."""
    return str(address).lower()


def spf_domain(mail: Mail) -> str:
    """The domain of the envelope sender (of HELO, for the null sender) for which the client may send; "" for none."""
    spf = mail.evidence(SpfResult)
    return spf.domain if spf is not None and spf.code is SpfCode.PASS else ""


def sender_confirmed(mail: Mail) -> bool:
    """Whether the envelope sender's own domain says that the client may send for it, or has signed the message."""
    sender = mail.envelope.sender
    if sender is None or not sender.domain:
        return False
    spf = mail.evidence(SpfResult)
    if spf is not None and spf.code is SpfCode.PASS and spf.identity is SpfIdentity.MAILFROM:
        return spf.domain == sender.domain
    return any(_covers(domain, sender.domain) for domain in signers(mail))


def _covers(domain: str, other: str) -> bool:
    """A domain vouches for itself and what is below it, unless it is a top-level domain."""
    return other == domain or ("." in domain and other.endswith("." + domain))


def signers(mail: Mail) -> list[str]:
    """The domains whose signature on the message is good, each once, from the top."""
    dkim = mail.evidence(DkimResults)
    if dkim is None:
        return []
    return list(dict.fromkeys([one.domain for one in dkim.results if one.vouches and one.domain]))


def identities(mail: Mail) -> list[str]:
    """The domains that are shown to be behind the mail, whether the author's or not: by SPF, then by signatures."""
    domain = spf_domain(mail)
    found = dict.fromkeys([*([domain] if domain else []), *signers(mail)])
    return list(found)[:MOST_IDENTITIES]


def identity_keys(mail: Mail) -> tuple[str, ...]:
    """What the history of those domains is kept under."""
    return tuple([f"dom:{domain}" for domain in identities(mail)])
