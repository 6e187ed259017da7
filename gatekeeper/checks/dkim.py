"""Does a domain vouch for the message (RFC 6376)?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import ClassVar, Final

from gatekeeper.checks.base import ReverseName, Tools
from gatekeeper.checks.keys import client_key, long_good, network_key
from gatekeeper.mailauth.dkim import DkimResult, DkimResults, verify
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.dmarc_record import registered_domain
from gatekeeper.mailauth.spf import SpfCode, SpfResult
from gatekeeper.message.header import author_of, header_of
from gatekeeper.model import Duration, Finding, IPAddress, Kind, Mail, Message, Missing, Rule, setting
from gatekeeper.store.base import DISTINCT_MOST, Sighting, StoreAway
from gatekeeper.wire.mailboxes import parse_address_list

MOST_COUNTED = 100  # recipients of one transaction

PASS = Rule("DKIM_PASS", -0.1, "A domain vouches for the message as it is.", kind=Kind.IDENTITY)
NONE = Rule("DKIM_NONE", 0.1, "No domain signed the message.", kind=Kind.IDENTITY)
TEMPERROR = Rule(
    "DKIM_TEMPERROR", 0.0, "Whether a domain vouches for the message could not be found out now.", kind=Kind.IDENTITY
)
FAIL = Rule(
    "DKIM_FAIL", 0.5, "The message is not the one that was signed.", kind=Kind.IDENTITY, enhanced="7.20"
)  # RFC 7372 §3.1
PARTIAL = Rule("DKIM_PARTIAL", 0.5, "The signature leaves text of the message uncovered.", kind=Kind.IDENTITY)
WEAK_KEY = Rule("DKIM_WEAK_KEY", 0.2, "The key is too short to prove anything.", kind=Kind.IDENTITY)
POLICY = Rule("DKIM_POLICY", 0.2, "The signature is too old or too weak to prove anything.", kind=Kind.IDENTITY)
INVALID = Rule("DKIM_INVALID", 0.3, "The signature or its key cannot be used.", kind=Kind.IDENTITY)
AMBIGUOUS = Rule(
    "DKIM_AMBIGUOUS", 0.5, "The signature is a domain's, but two readers might see two authors.", kind=Kind.IDENTITY
)
# Large providers leave Content-Type out: by itself it is no reason to distrust.
UNCOVERED = Rule(
    "DKIM_UNCOVERED", 0.0, "Some of what readers are shown is not covered by any signature.", kind=Kind.IDENTITY
)
REPLAY = Rule(
    "DKIM_REPLAY",
    2.5,
    "Others than its signer bring the same message to many who are not named in it, or from many networks.",
    kind=Kind.IDENTITY,
)

READ_OCTETS: Final = 8192
"""Of To or Cc that are read as a list of addresses."""

Test = Callable[[DkimResult], bool]
# The first rule that one signature meets is found: who vouches needs no excuse for a broken signature beside it.
BY_RESULT: tuple[tuple[Rule, Test], ...] = (
    (PASS, lambda one: one.vouches),
    (TEMPERROR, lambda one: one.code is DkimCode.TEMPERROR),
    (FAIL, lambda one: one.code is DkimCode.FAIL),
    (PARTIAL, lambda one: one.partial),
    (AMBIGUOUS, lambda one: one.ambiguous),
    (WEAK_KEY, lambda one: one.weak_key),
    (POLICY, lambda one: one.code is DkimCode.POLICY),
    (INVALID, lambda one: one.code in (DkimCode.NEUTRAL, DkimCode.PERMERROR)),
)


@dataclass(frozen=True, slots=True)
class Replay:
    """How many different recipients that To and Cc do not name, and networks of clients, one signature has had."""

    domain: str
    digest: str
    recipients: int
    networks: int


@dataclass(frozen=True, slots=True)
class Dkim:
    """[checks.dkim]"""

    name: ClassVar[str] = "dkim"

    signatures: int = setting(8, "How many signatures of a message are verified, from the top.")
    replay_recipients: int = setting(
        100,
        "The same signature to more recipients than this that To and Cc do not name, brought by others than its signer "
        "and clients long known as good, is a replay. 0 does not look.",
    )
    replay_networks: int = setting(
        12, "The same signature from more networks than this (/24, /48), of the same, is a replay. 0 does not look."
    )
    replay_window: Duration = setting(86400.0, "How long a signature is remembered for that.")

    def __post_init__(self) -> None:
        if not 1 <= self.signatures <= 50:
            raise ValueError("signatures must be from 1 to 50")
        for name in ("replay_recipients", "replay_networks"):
            if not 0 <= getattr(self, name) < DISTINCT_MOST:
                raise ValueError(f"{name} must be from 0 to {DISTINCT_MOST - 1}")
        if not 60 <= self.replay_window <= 30 * 86400:
            raise ValueError('replay_window must be from "1m" to "30d"')

    def rules(self) -> Sequence[Rule]:
        return (*(rule for rule, _ in BY_RESULT), NONE, UNCOVERED, *((REPLAY,) if self._counts else ()))

    @property
    def _counts(self) -> bool:
        return bool(self.replay_recipients or self.replay_networks)

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        if mail.message is None:
            return ()
        resolver = tools.apart or tools.resolver
        results = await verify(mail.message, resolver, now=tools.clock(), most=self.signatures)
        rule, shown = _found(results)
        found: list[Finding | Missing] = [Finding(rule.name, results, "; ".join(map(_text, shown)))]
        if rule is TEMPERROR:
            others = tuple(other.name for other in self.rules() if other is not TEMPERROR)
            found.append(Missing("dkim", others, shown[0].reason))
        if rule is PASS:
            if all(one.uncovered for one in shown):
                found.append(Finding(UNCOVERED.name, None, f"not signed: {', '.join(shown[0].uncovered)}"))
            told = _telling(shown, mail.message)
            if self._counts and not _acts_for(told.domain, mail):
                found += await self._replayed(told, mail, mail.message, tools)
        return found

    async def _replayed(
        self, one: DkimResult, mail: Mail, message: Message, tools: Tools
    ) -> Sequence[Finding | Missing]:
        """The message is the same wherever the signature is, so each delivery of it is counted under that.

        What the signer's own client brings is not counted: a newsletter or a list may have many readers here, none of
        whom it names. A client whose mail has long been good is believed to send on what it is asked to.
        """
        key, window = f"dkim:{one.digest}", self.replay_window
        strangers = _unnamed(mail, message)[:MOST_COUNTED] if self.replay_recipients else []
        address = mail.session.address
        network = str(_network(address)) if address is not None and self.replay_networks else ""
        seen = [Sighting(f"{key}:to", each, window) for each in strangers or [""]]
        try:
            *_, to, by = await tools.store.distinct([*seen, Sighting(f"{key}:by", network, window)], now=tools.clock())
            if not (0 < self.replay_recipients < to or 0 < self.replay_networks < by):
                return ()
            if address is not None and await _long_known(address, tools):
                return ()
        except StoreAway as away:
            return (Missing("dkim:replay", (REPLAY.name,), type(away).__name__),)
        text = f"{one.domain}: one signature, {to} recipients it does not name, {by} networks"
        return (Finding(REPLAY.name, Replay(one.domain, one.digest, to, by), text),)


def _telling(vouching: Sequence[DkimResult], message: Message) -> DkimResult:
    """The signature that a replay is after: one of the author's organisation, else the one lowest in the header.

    Whoever replays may put signatures of its own above, another one each time.
    """
    author = author_of(message).domain
    wanted = None if author is None else registered_domain(author)
    return next((one for one in vouching if wanted and registered_domain(one.domain) == wanted), vouching[-1])


def _acts_for(signer: str, mail: Mail) -> bool:
    """Whether SPF, or its own confirmed name, shows that the client belongs to whoever signed."""
    registered = registered_domain(signer)
    spf, name = mail.evidence(SpfResult), mail.evidence(ReverseName)
    shown = [spf.domain] if spf is not None and spf.code is SpfCode.PASS else []
    shown += [name.name] if name is not None and name.confirmed else []
    return registered is not None and any(registered_domain(domain.lower()) == registered for domain in shown)


async def _long_known(address: IPAddress, tools: Tools) -> bool:
    """Raises StoreAway."""
    histories = await tools.store.history([client_key(address), network_key(address)])
    return any(long_good(history, tools.clock()) for history in histories)


def _unnamed(mail: Mail, message: Message) -> list[str]:
    """The recipients that the message does not name, each as one word."""
    header = header_of(message)
    fields = [field for name in ("to", "cc") for field in header.all(name)[:1]]
    told = [str(recipient.address).lower() for recipient in mail.envelope.recipients]
    for field in fields:
        value = field.value
        if len(value) > READ_OCTETS:  # reading it would hold the others up, and it is there or not
            text = value.decode("utf-8", "surrogateescape").lower()
            told = [address for address in told if address not in text]
        else:
            named = {str(box.address).lower() for box in parse_address_list(value).mailboxes}
            told = [address for address in told if address not in named]
    return told


def _network(address: IPAddress) -> IPv4Network | IPv6Network:
    return ip_network((address, 24 if address.version == 4 else 48), strict=False)


def _found(results: DkimResults) -> tuple[Rule, list[DkimResult]]:
    """A rule, and the signatures it is about. Signed with a key that is being tried is as unsigned (§3.6.1, t=y)."""
    serious = [one for one in results.results if not one.testing]
    for rule, met in BY_RESULT:
        about = [one for one in serious if met(one)]
        if about:
            return rule, about
    return NONE, []


def _text(one: DkimResult) -> str:
    return f"{one.domain or '?'}: {one.code}" + (f" ({one.reason})" if one.reason else "")
