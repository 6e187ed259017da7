"""DMARC aggregate reports (RFC 9990): the settings, and what the evidence of a day consists of. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from gatekeeper.mailauth.dmarc_record import DmarcRecord, ReportUri
from gatekeeper.model import Duration, setting
from gatekeeper.nexthop.settings import NextHopUrl
from gatekeeper.wire.address import AddressError, normal_domain, parse_path
from gatekeeper.wire.notation import read_json

DAY = 86400
MOST_SIGNATURES = 8  # of one row; RFC 9990 §3.1.3 would let it be a hundred
MOST_TEXT = 253


@dataclass(frozen=True, slots=True)
class Settings:
    """[complaints.dmarc]"""

    email: str = setting(
        "", "Whom the reports are from, and whom they may be answered to; while it is empty none are made."
    )
    organization: str = setting("", "Who reports, for people; the domain of `email` when empty.")
    contact: str = setting("", "Where else a reader of a report may turn, such as the address of a web page.")
    relay: str = setting(
        "", 'Who sends the reports on, as "smtp://host:port"; the next hop when empty, if it relays for us.'
    )
    exempt: tuple[str, ...] = setting((), "Domains that get no reports, such as our own, and those below them.")
    keep: Duration = setting(
        4 * 86400.0, "How long the evidence of a day is kept for a report that could not be sent at once."
    )
    write_every: Duration = setting(10.0, "How often each worker brings its evidence to the store.")
    rows: int = setting(2_000, "Rows of one report that each worker counts; mail that would make more is left out.")
    domains: int = setting(20_000, "Domains of one day that each worker counts for; more are left out.")
    destinations: int = setting(3, "How many of a domain's rua= addresses are sent to, the first ones first.")
    pause: Duration = setting(0.2, "Time between two reports, so that nobody is sent a flood.")

    def __post_init__(self) -> None:
        if self.email:
            try:
                address = parse_path(self.email)
            except AddressError as wrong:
                raise ValueError(f"email: {self.email!r} is not an address ({wrong})") from None
            if normal_domain(address.domain) is None or not self.email.isascii():
                raise ValueError(f'email: {self.email!r} is not an address such as "dmarc-reports@example.org"')
        if self.relay and NextHopUrl.parse(self.relay).protocol != "smtp":
            raise ValueError(f"relay: {self.relay!r} is not smtp://host:port, and reports go to other people's servers")
        for name in self.exempt:
            if normal_domain(name) is None:
                raise ValueError(f"exempt: {name!r} is not a domain")
        if not DAY <= self.keep <= 30 * DAY:
            raise ValueError('keep must be from "1d" to "30d"')
        if not 0 < self.write_every <= 60:
            raise ValueError('write_every must be above 0 and at most "60s"')
        if min(self.rows, self.domains, self.destinations) < 1 or self.rows > 10_000 or self.destinations > 10:
            raise ValueError("rows must be from 1 to 10000, domains at least 1, destinations from 1 to 10")
        if not 0 <= self.pause <= 60:
            raise ValueError('pause must be from "0s" to "60s"')

    @property
    def submitter(self) -> str:
        """The domain in whose name the reports are made."""
        return normal_domain(self.email.rpartition("@")[2]) or ""


@dataclass(frozen=True, slots=True)
class Signature:
    """What became of one DKIM signature."""

    domain: str
    selector: str
    result: str


@dataclass(frozen=True, slots=True)
class Row:
    """What messages have in common that are counted together (RFC 9990 §3.1.1.8 to §3.1.1.14).

    `reasons` say why the disposition is not what the owner asked for. `sender` is the domain in MAIL FROM, "" for an
    empty one, None where nobody knows it. Nothing in it names a person or a recipient.
    """

    address: str
    disposition: str
    dkim: bool
    spf: bool
    author: str
    sender: str | None
    signatures: tuple[Signature, ...]
    spf_domain: str
    spf_result: str
    reasons: tuple[tuple[str, str], ...] = ()

    def text(self) -> str:
        """As it stands in the key of a counter."""
        signatures = [[one.domain, one.selector, one.result] for one in self.signatures]
        return json.dumps(
            [
                self.address,
                self.disposition,
                int(self.dkim),
                int(self.spf),
                self.author,
                self.sender,
                signatures,
                self.spf_domain,
                self.spf_result,
                self.reasons,
            ],
            separators=(",", ":"),
        )

    @classmethod
    def of(cls, text: str) -> Row:
        """Raises ValueError for what `text` did not write."""
        try:
            address, disposition, dkim, spf, author, sender, signatures, spf_domain, spf_result, reasons = read_json(
                text
            )
            return cls(
                address,
                disposition,
                bool(dkim),
                bool(spf),
                author,
                sender,
                tuple(Signature(*one) for one in signatures),
                spf_domain,
                spf_result,
                tuple((kind, comment) for kind, comment in reasons),
            )
        except (TypeError, ValueError) as wrong:
            raise ValueError(f"not a row: {wrong}") from None


@dataclass(frozen=True, slots=True)
class Published:
    """The record of a policy domain as it was last seen on a day."""

    p: str
    sp: str
    np: str
    adkim: str
    aspf: str
    testing: bool
    fo: str
    rua: tuple[ReportUri, ...]
    wrong: tuple[str, ...] = ()

    @classmethod
    def by(cls, record: DmarcRecord) -> Published:
        return cls(
            p=record.policy.value,
            sp=record.subdomains.value,
            np=record.missing.value,
            adkim="s" if record.strict_dkim else "r",
            aspf="s" if record.strict_spf else "r",
            testing=record.testing,
            fo=record.failure_options,
            rua=record.reports,
            wrong=record.wrong,
        )

    def text(self) -> str:
        """As it stands in a note."""
        rua = [[one.uri, one.limit] for one in self.rua]
        return json.dumps([self.p, self.sp, self.np, self.adkim, self.aspf, self.testing, self.fo, rua, self.wrong])

    @classmethod
    def of(cls, text: str) -> Published:
        """Raises ValueError for what `text` did not write."""
        try:
            p, sp, np, adkim, aspf, testing, fo, rua, wrong = read_json(text)
            uris = tuple(ReportUri(uri, limit) for uri, limit in rua)
            return cls(p, sp, np, adkim, aspf, bool(testing), fo, uris, tuple(wrong))
        except (TypeError, ValueError) as odd:
            raise ValueError(f"not a policy: {odd}") from None


# In the store. A key begins with the day and the policy domain, so that the evidence of one report is found together.

ROWS = "dmarc_rows"  # tallies: "2026-11-27 example.com [row]"
POLICIES = "dmarc_policy"  # notes: "2026-11-27 example.com"
REPORTS = "dmarc_report"  # notes under the same keys: what became of the report
SENT = "dmarc_sent"  # notes: Message-ID without its angle brackets -> the address it was sent to
DEAD = "dmarc_dead"  # notes: an address that refuses reports


def day_of(now: float) -> str:
    """The UTC day of a moment, as 2026-11-27."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def begin_of(day: str) -> int:
    """Unix time at which a day begins. Raises ValueError for what is no day."""
    return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp())


def before(day: str, days: int = 1) -> str:
    return (date.fromisoformat(day) - timedelta(days=days)).isoformat()


def key_of(day: str, domain: str) -> str:
    return f"{day} {domain}"
