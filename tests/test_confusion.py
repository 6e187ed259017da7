"""The attacks on mail authentication that are known, each through the whole gate: none passes, none is carried on.

Two parties: bank.example, whose policy is p=reject, and attacker.example, which has everything in order for itself:
its client passes SPF, its signatures verify, its name has a DMARC record. The attacker wants a reader to see the
bank, and somebody to say "pass". ("Composition Kills", USENIX Security 2020; "Weak Links in Authentication Chains",
USENIX Security 2021; RFC 6376 §8, RFC 8601 §7.)
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gatekeeper.checks.base import Tools
from gatekeeper.checks.spf import Spf
from gatekeeper.gate import LiveGate, Settings, table_of
from gatekeeper.mailauth.upstream import Upstream
from gatekeeper.message import edit
from gatekeeper.message.header import author_of
from gatekeeper.model import Action, Mail, Recipient, Stage
from gatekeeper.pipeline import CHECKS, TABLE
from gatekeeper.policy import Policy
from gatekeeper.policy import Settings as PolicySettings
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.address import AddressError, parse_path
from gatekeeper.wire.auth_results import AuthResults, read
from gatekeeper.wire.headers import parse_header
from tests.support.dkim_signer import record, signed
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of
from tests.test_gate import Recorder

OURS = "mx.example.org"
NOW = 1_800_000_000.0
ATTACKER, BANK = (rsa.generate_private_key(65537, 1024) for _ in range(2))
ZONE = {
    ("attacker.example", "TXT"): [b"v=spf1 ip4:192.0.2.66 -all"],
    ("sel._domainkey.attacker.example", "TXT"): [record(ATTACKER)],
    ("_dmarc.attacker.example", "TXT"): [b"v=DMARC1; p=none"],
    ("bank.example", "TXT"): [b"v=spf1 ip4:198.51.100.1 -all"],
    ("sel._domainkey.bank.example", "TXT"): [record(BANK)],
    ("testing._domainkey.bank.example", "TXT"): [record(BANK, "t=y")],
    ("_dmarc.bank.example", "TXT"): [b"v=DMARC1; p=reject"],
    ("example.org", "TXT"): [b"v=spf1 ip4:203.0.113.9 -all"],
    ("_dmarc.example.org", "TXT"): [b"v=DMARC1; p=reject"],
    ("_dmarc.xn--bnk-8cd.example", "TXT"): [b"v=DMARC1; p=none"],
    ("xn--bnk-8cd.example", "TXT"): [b"v=spf1 +all"],
    ("sel._domainkey.xn--bnk-8cd.example", "TXT"): [record(ATTACKER)],
}
REST = b"To: ann@example.org\r\nSubject: dinner\r\nDate: Mon, 1 Jan 2027 00:00:00 +0000\r\n\r\nHi.\r\n"
FROM_BANK, FROM_ATTACKER = b"From: ceo@bank.example\r\n", b"From: joe@attacker.example\r\n"


@dataclass(frozen=True)
class Outcome:
    """What was found and done, and what our own Authentication-Results says; how many such fields claim to be ours."""

    rules: frozenset[str]
    action: Action
    ours: AuthResults
    claims: int

    @property
    def passed(self) -> set[str]:
        """The methods that pass, in a rule or in the field; iprev is about the client alone."""
        said = {one.method for one in self.ours.results if one.result == "pass"} - {"iprev"}
        return said | {rule.partition("_")[0].lower() for rule in self.rules & {"DKIM_PASS", "DMARC_PASS"}}

    @property
    def sender_passed(self) -> bool:
        """Whether SPF passes for the envelope sender, in a rule or in the field."""
        said = any(one.result == "pass" for one in self.ours.all("spf") if one.get("smtp.mailfrom"))
        return said or "SPF_PASS" in self.rules


async def judged(
    raw: bytes,
    *,
    sender: str = "joe@attacker.example",
    helo: str = "mail.attacker.example",
    address: str = "192.0.2.66",
    login: str | None = None,
    upstreams: tuple[Upstream, ...] = (),
) -> Outcome:
    checks = {kind: kind() for kind in CHECKS} | {Spf: Spf(upstreams=upstreams)}
    rules = [rule for check in checks.values() for rule in check.rules()]
    gate = LiveGate(
        table=table_of(TABLE, checks),
        policy=Policy(PolicySettings(), rules, domains=frozenset({"example.org"})),
        tools=Tools(FakeResolver(ZONE), MemoryStore(), lambda: NOW, OURS, frozenset({"example.org"})),
        recorder=Recorder(),  # type: ignore[arg-type]
        settings=Settings(gather="all"),
        edit_settings=edit.Settings(),
    )
    session = gate.session("smtp")
    session.address, session.helo, session.extended, session.login = ip_address(address), helo, True, login
    mail = Mail(session, gate.envelope(session))
    mail.envelope.sender = parse_path(sender)
    mail.recipient = Recipient(parse_path("ann@example.org"))
    await gate.judge(Stage.RCPT, mail)
    mail.envelope.recipients.append(mail.recipient)
    mail.message = message_of(raw)
    verdict = await gate.judge(Stage.MESSAGE, mail)
    header = parse_header(edit.apply(mail.message, gate.edits(mail, verdict)))
    claims = [found for one in header.all("authentication-results") if (found := read(one.value)) is not None]
    ours = [one for one in claims if one.authserv_id.lower() == OURS]
    return Outcome(frozenset(one.rule for one in mail.findings()), verdict.action, ours[0], len(ours))


def by_attacker(header: bytes, *, h: str = "from:to:subject:date", **tags: Any) -> bytes:
    return signed(header + REST, ATTACKER, d="attacker.example", h=h, **tags)


def by_bank(header: bytes = FROM_BANK, **tags: Any) -> bytes:
    return signed(header + REST, BANK, d="bank.example", **tags)


async def test_mail_without_any_trick_passes() -> None:
    """Otherwise the tests below would show nothing."""
    assert (await judged(by_attacker(FROM_ATTACKER))).passed == {"spf", "dkim", "dmarc"}
    bank = await judged(by_bank())
    assert bank.passed == {"spf", "dkim", "dmarc"}
    assert bank.ours.all("dmarc")[0].get("header.from") == "bank.example"


READ_DIFFERENTLY = {
    "two From fields": FROM_ATTACKER + FROM_BANK,
    "two From fields, the other way round": FROM_BANK + FROM_ATTACKER,
    "the same author twice": FROM_ATTACKER * 2,
    "two addresses in From": b"From: ceo@bank.example, joe@attacker.example\r\n",
    "two addresses in From, one of them bare": b"From: <ceo@bank.example>,joe@attacker.example\r\n",
    "two addresses without a comma": b"From: <ceo@bank.example> <joe@attacker.example>\r\n",
    "a blank before the colon": b"From : ceo@bank.example\r\n" + FROM_ATTACKER,
    "a tab before the colon": b"From\t: ceo@bank.example\r\n" + FROM_ATTACKER,
    "a folded field name": b"From\r\n : ceo@bank.example\r\n" + FROM_ATTACKER,
    "a field name with a NUL": b"From\0: ceo@bank.example\r\n" + FROM_ATTACKER,
    "a field name with an 8-bit sign": b"From\xa0: ceo@bank.example\r\n" + FROM_ATTACKER,
    "a field name with an invisible sign": "\ufeffFrom: ceo@bank.example\r\n".encode() + FROM_ATTACKER,
    "an empty fold that ends the header for some": b"X: y\r\n \r\n" + FROM_ATTACKER,
    "a line without a colon": b"From ceo@bank.example\r\nnot a field\r\n" + FROM_ATTACKER,
    "a source route": b"From: <@bank.example,@x.example:joe@attacker.example>\r\n",
    "an encoded address": b"From: <=?utf-8?q?ceo=40bank.example?=@attacker.example>\r\n",
    "an encoded address as a name": b"From: =?utf-8?b?PGNlb0BiYW5rLmV4YW1wbGU+?= <joe@attacker.example>\r\n",
    "a NUL in the address": b"From: ceo@bank.example\0@attacker.example\r\n",
    "a NUL after the address": b"From: ceo@bank.example\0\r\n" + FROM_ATTACKER,
    "a quoted pair": b"From: <ceo\\@bank.example@attacker.example>\r\n",
    "a quoted pair in a quoted string": b'From: "ceo@bank.example\\""@attacker.example\r\n',
    "a comment in the address": b"From: joe@attacker.example(<ceo@bank.example>)\r\n",
    "a comment in the domain": b"From: joe@(bank.example)attacker.example\r\n",
    "blanks in the address": b"From: joe @ attacker.example\r\n",
    "a quoted local part with an address": b'From: "ceo@bank.example"@attacker.example\r\n',
    "a name that is an address": b"From: ceo@bank.example <joe@attacker.example>\r\n",
    "a quoted name that is an address in brackets": b'From: "<ceo@bank.example>" <joe@attacker.example>\r\n',
    "a group": b"From: ceo@bank.example:joe@attacker.example;\r\n",
    "an unbalanced quote": b'From: "ceo@bank.example <joe@attacker.example>\r\n',
    "something after the bracket": b"From: <joe@attacker.example>ceo@bank.example\r\n",
    "brackets in brackets": b"From: <<ceo@bank.example>joe@attacker.example>\r\n",
    "a bare CR in From": b"From: ceo@bank.example\r <joe@attacker.example>\r\n",
    "8-bit signs that are not UTF-8": b"From: ceo@bank\xe4.example <joe@attacker.example>\r\n",
    "an author too long to be read": b"From: ceo@bank.example " + b"x" * 5000 + b" <joe@attacker.example>\r\n",
    "two Sender fields": FROM_ATTACKER + b"Sender: ceo@bank.example\r\nSender: joe@attacker.example\r\n",
    "two addresses in Sender": FROM_ATTACKER + b"Sender: ceo@bank.example, joe@attacker.example\r\n",
    "a Sender that is read in two ways": FROM_ATTACKER + b"Sender: ceo@bank.example <joe@attacker.example>\r\n",
    "a blank before the colon of Sender": FROM_ATTACKER + b"Sender : ceo@bank.example\r\n",
}


@pytest.mark.parametrize("name", READ_DIFFERENTLY)
async def test_what_two_readers_read_differently_passes_nowhere(name: str) -> None:
    for raw in (READ_DIFFERENTLY[name] + REST, by_attacker(READ_DIFFERENTLY[name])):
        got = await judged(raw)
        assert got.passed == set(), got.ours
        assert got.rules & {"FROM_AMBIGUOUS", "FROM_SEVERAL"}


ODDLY_WRITTEN = {
    "a name with another's address": b'From: "Bank <ceo@bank.test>" <ceo@bank.example>\r\n',
    "two authors of one domain": b"From: ceo@bank.example, cfo@bank.example\r\n",
    "two senders": FROM_BANK + b"Sender: ceo@bank.example, cfo@bank.example\r\n",
    "a fold of blanks above": b"X-Odd: a\r\n \r\n" + FROM_BANK,
    "a line without a colon above": b"not a field\r\n" + FROM_BANK,
    "a comment in the address": b"From: ceo(dep. 3)@bank.example\r\n",
}


@pytest.mark.parametrize("name", ODDLY_WRITTEN)
async def test_what_the_author_s_domain_signed_is_not_refused_in_its_name_for_being_written_oddly(name: str) -> None:
    got = await judged(by_bank(ODDLY_WRITTEN[name]))
    assert got.passed == set(), got.ours
    assert "DKIM_AMBIGUOUS" in got.rules
    assert "DMARC_NONE" in got.rules
    assert not got.action.refuses


NOT_SIGNED_BY_ALL = {
    "another From above": b"From: boss@bank.example\r\n" + by_bank(),
    "another From above, with a blank": b"From : boss@bank.example\r\n" + by_bank(),
    "another From above, with an invisible sign": "\ufeffFrom: boss@bank.example\r\n".encode() + by_bank(),
    "another From above, and a line without a colon": b"From: boss@bank.example\r\nPay now.\r\n" + by_bank(),
    "another From of the attacker's above": FROM_ATTACKER + by_bank(),
    "a key in test": by_bank(b"From: ceo(x)@bank.example\r\n", s="testing"),
    "text below l=": by_bank(b"From: ceo(x)@bank.example\r\n", limit=3) + b"PAY\r\n",
    "another Sender than was signed": b"Sender: joe@attacker.example\r\n"
    + by_bank(FROM_BANK + b"Sender: a@bank.example, b@bank.example\r\n", h="from:sender:to:subject:date"),
    "more fields than are read": by_bank().replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 2000 + FROM_BANK + b"\r\n", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_SIGNED_BY_ALL)
async def test_a_signature_that_leaves_something_open_vouches_for_no_odd_author(name: str) -> None:
    got = await judged(NOT_SIGNED_BY_ALL[name])
    assert not got.passed & {"dkim", "dmarc"}, got.ours
    assert "DMARC_REJECT" in got.rules
    assert got.action is Action.REJECT


@pytest.mark.parametrize("name", READ_DIFFERENTLY)
async def test_an_attacker_s_signature_is_not_the_bank_s_word(name: str) -> None:
    """Where the bank can be read as the author, it is asked; its policy is as strict whoever else has signed."""
    raw = by_attacker(READ_DIFFERENTLY[name])
    if any(domain == "bank.example" for domain in author_of(message_of(raw)).domains):
        got = await judged(raw)
        assert {"DMARC_AMBIGUOUS_FROM", "DMARC_REJECT"} <= got.rules
        assert got.action is Action.REJECT


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        (b"List-Id: <l.attacker.example>\r\nFrom: ceo(x)@bank.example\r\n", "DMARC_QUARANTINE"),
        (b"From: ceo(x)@bank.example\r\n", "DMARC_REJECT"),
        (b"List-Id: <l.attacker.example>\r\n" + FROM_BANK[:-2] + b", joe@attacker.example\r\n", "DMARC_REJECT"),
    ],
)
async def test_what_a_list_vouches_for_is_marked_if_one_domain_alone_can_be_the_author_s(
    header: bytes, rule: str
) -> None:
    got = await judged(by_attacker(header))
    assert got.rules & {"DMARC_QUARANTINE", "DMARC_REJECT", "DMARC_ARC"} == {rule}
    assert "DMARC_AMBIGUOUS_FROM" in got.rules
    assert got.action in {Action.TAG, Action.REJECT}


async def test_a_first_line_that_begins_with_a_blank_hides_the_header_from_some() -> None:
    got = await judged(b" From: ceo@bank.example\r\n" + by_attacker(FROM_ATTACKER))
    assert got.passed == set(), got.ours


@pytest.mark.parametrize("domain", ["xn--bnk-8cd.example", "bаnk.example"])  # the second one's "a" is Cyrillic
async def test_a_domain_that_looks_like_another_passes_nowhere_though_all_is_in_order(domain: str) -> None:
    raw = f"From: ceo@{domain}\r\n".encode() + REST
    got = await judged(signed(raw, ATTACKER, d="xn--bnk-8cd.example"), sender="ceo@xn--bnk-8cd.example")
    assert got.passed == set(), got.ours
    assert "FROM_AMBIGUOUS" in got.rules


NOT_THE_BANKS = {
    "text appended below l=": signed(FROM_BANK + REST, BANK, d="bank.example", limit=3) + b"PAY\r\n",
    "another From above the signed one": b"From: boss@bank.example\r\n" + by_bank(),
    "another From below the signed one": by_bank().replace(b"\r\n\r\n", b"\r\nFrom: boss@bank.example\r\n\r\n", 1),
    "another Subject above the signed one": b"Subject: pay now\r\n" + by_bank(),
    "another To above the signed one": b"To: bob@example.org\r\n" + by_bank(),
    "another Date above the signed one": b"Date: Tue, 2 Jan 2027 00:00:00 +0000\r\n" + by_bank(),
    "another Content-Type above the signed one": b"Content-Type: text/html\r\n"
    + by_bank(b"Content-Type: text/plain\r\n" + FROM_BANK, h="from:to:subject:date:content-type"),
    "a Content-Type beside an over-signed one": b"Content-Type: text/html\r\n"
    + by_bank(h="from:to:subject:date:content-type"),
    "a signature without From": by_bank(h="to:subject:date"),
    "an expired signature": by_bank(t="1600000000", x="1600000100"),
    "a signature from the future": by_bank(t="1900000000"),
    "a signature by SHA-1": by_bank(a="rsa-sha1"),
    "another's signature in the bank's name": signed(FROM_BANK + REST, ATTACKER, d="bank.example"),
    "i= of the bank under d= of another": by_attacker(FROM_BANK, i="@bank.example"),
    "a NUL in d=": by_attacker(FROM_BANK).replace(b"d=attacker.example", b"d=bank.example\0.attacker.example"),
    "a NUL in s=": by_attacker(FROM_BANK).replace(b"s=sel", b"s=sel._domainkey.attacker.example\0")
    .replace(b"d=attacker.example", b"d=bank.example"),
    "a selector that leaves the domain": by_attacker(FROM_BANK)
    .replace(b"s=sel", b"s=sel._domainkey.attacker.example.")
    .replace(b"d=attacker.example", b"d=bank.example"),
    "a blank in d=": by_attacker(FROM_BANK).replace(b"d=attacker.example", b"d=bank.example attacker.example"),
    "d= twice": by_attacker(FROM_BANK).replace(b"d=attacker.example", b"d=bank.example; d=attacker.example"),
    "only the top-level domain signs": signed(FROM_BANK + REST, ATTACKER, d="example"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_THE_BANKS)
async def test_nobody_but_the_bank_has_the_bank_s_word(name: str) -> None:
    got = await judged(NOT_THE_BANKS[name])
    assert not got.passed & {"dkim", "dmarc"} or got.passed == {"spf", "dkim"}
    assert "dmarc" not in got.passed
    passing = [one for one in got.ours.all("dkim") if one.result == "pass"]
    assert all(one.get("header.d") == "attacker.example" for one in passing), got.ours


@pytest.mark.parametrize(
    "sender",
    [
        '"x; dkim=pass header.d=bank.example"@attacker.example',
        '"x) dkim=pass ("@attacker.example',
        '"ceo@bank.example"@attacker.example',
        "<@bank.example:joe@attacker.example>"[1:-1],
        "ceo%bank.example@attacker.example",
        "bank.example!ceo@attacker.example",
    ],
)
async def test_an_envelope_cannot_say_more_than_a_domain(sender: str) -> None:
    got = await judged(FROM_BANK + REST, sender=sender)
    assert [one.method for one in got.ours.results if one.method == "dkim"] == ["dkim"]
    assert got.ours.all("dkim")[0].result == "none"
    assert "dmarc" not in got.passed
    (spf,) = [one for one in got.ours.all("spf") if one.get("smtp.mailfrom")]  # the other one is of the HELO name
    assert spf.get("smtp.mailfrom") == "attacker.example"
    if "@" in sender.rpartition("@")[0]:  # a second reader might take the bank for the sender
        assert spf.result == "policy"


@pytest.mark.parametrize(
    "sender",
    [
        "<@bank.example:joe@attacker.example>"[1:-1],
        "<@bank.example,@x.example:joe@attacker.example>"[1:-1],
        '"ceo@bank.example"@attacker.example',
        '"ceo@bank.example\\""@attacker.example',
        '"ceo\\@bank.example"@attacker.example',
        '"ceo\\"bank.example"@attacker.example',
        "=?utf-8?q?ceo=40bank.example?=@attacker.example",
        "=?utf-8?b?Y2VvQGJhbmsuZXhhbXBsZQ==?=@attacker.example",
    ],
)
async def test_an_envelope_that_two_readers_read_differently_passes_nowhere(sender: str) -> None:
    for author in (FROM_BANK, FROM_ATTACKER):
        got = await judged(author + REST, sender=sender)
        assert not got.sender_passed, got.ours
        assert "SPF_AMBIGUOUS" in got.rules
        assert not got.passed & {"dkim", "dmarc"}, got.ours


@pytest.mark.parametrize("sender", ["ceo%bank.example@attacker.example", "bank.example!ceo@attacker.example"])
async def test_where_all_readers_see_one_domain_it_is_that_one_which_passes(sender: str) -> None:
    got = await judged(FROM_BANK + REST, sender=sender)
    assert got.sender_passed
    assert got.ours.all("spf")[0].get("smtp.mailfrom") == "attacker.example"
    assert "dmarc" not in got.passed


@pytest.mark.parametrize("sender", ["ceo@bank.example\0@attacker.example", "ceo@bank.example joe@attacker.example"])
def test_an_envelope_that_is_no_address_is_none(sender: str) -> None:
    with pytest.raises(AddressError):
        parse_path(sender)


def heavy(domain: str) -> dict[tuple[str, str], Any]:
    """SPF records whose evaluation needs 110 answers."""
    zone: dict[tuple[str, str], Any] = {
        (domain, "TXT"): [f"v=spf1 {' '.join(f'mx:m{n}.{domain}' for n in range(10))} ?all".encode()]
    }
    for n in range(10):
        zone[f"m{n}.{domain}", "MX"] = [(1, f"h{n}x{host}.{domain}") for host in range(10)]
        zone |= {(f"h{n}x{host}.{domain}", "A"): ["198.51.100.9"] for host in range(10)}
    return zone


@pytest.mark.parametrize(
    "header",
    [
        FROM_BANK,
        b"From: " + b"".join(b"a@%d.a.b.c.d.e.f.attacker.example, " % n for n in range(3)) + b"ceo@bank.example\r\n",
    ],
)
async def test_an_attacker_s_own_records_do_not_use_up_the_question_for_the_bank_s_policy(
    header: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for domain in ("heavy.attacker.example", "mail.heavy.attacker.example"):
        for question, records in heavy(domain).items():
            monkeypatch.setitem(ZONE, question, records)
    got = await judged(by_attacker(header), sender="joe@heavy.attacker.example", helo="mail.heavy.attacker.example")
    assert {"SPF_PERMERROR", "SPF_HELO_PERMERROR", "DMARC_REJECT"} <= got.rules
    assert got.action is Action.REJECT


@pytest.mark.parametrize(("address", "login"), [("10.0.0.5", None), ("127.0.0.1", None), ("198.51.100.7", "ann")])
async def test_what_clients_of_our_own_send_is_not_refused_in_our_own_name(address: str, login: str | None) -> None:
    """Our signature is added when it goes on."""
    ours = {"sender": "billing@example.org", "helo": "app.example.org"}
    got = await judged(b"From: billing@example.org\r\n" + REST, address=address, login=login, **ours)  # type: ignore[arg-type]
    assert not {rule for rule in got.rules if rule.startswith(("SPF_", "DMARC_"))}
    assert got.action is Action.ACCEPT
    assert not got.passed
    stranger = await judged(b"From: billing@example.org\r\n" + REST, address="198.51.100.7", **ours)  # type: ignore[arg-type]
    assert {"SPF_FAIL", "DMARC_REJECT"} <= stranger.rules
    assert stranger.action is Action.REJECT


async def test_a_greeting_cannot_say_more_than_a_name() -> None:
    got = await judged(FROM_BANK + REST, sender="", helo="x; dkim=pass header.d=bank.example")
    assert "dkim" not in got.passed
    assert [one.result for one in got.ours.all("dkim")] == ["none"]


FORGED = [
    b"Authentication-Results: mx.example.org; dmarc=pass header.from=bank.example\r\n",
    b"authentication-results: MX.EXAMPLE.ORG; dmarc=pass header.from=bank.example\r\n",
    b'Authentication-Results: "mx.example.org"; dmarc=pass header.from=bank.example\r\n',
    b"Authentication-Results: (a (b)) mx.example.org (c) 1; dmarc=pass header.from=bank.example\r\n",
    b"Authentication-Results:\r\n\tmx.example.org\r\n\t; dmarc=pass header.from=bank.example\r\n",
    b"Authentication-Results: mx.example.org.; dmarc=pass header.from=bank.example\r\n",
    b"Authentication-Results : mx.example.org; dmarc=pass header.from=bank.example\r\n",
    b"Authentication-Results: mx.example.org dmarc=pass header.from=bank.example\r\n",
    b"Authentication-Results: (mx.example.org; dmarc=pass header.from=bank.example\r\n",
    b"Authentication-Results: mx.example.org\0; dmarc=pass header.from=bank.example\r\n",
]


async def test_forged_results_in_our_name_are_gone_however_many_there_are() -> None:
    got = await judged(b"".join(FORGED) + FROM_BANK + b"".join(FORGED) + REST)
    assert got.claims == 1
    assert "dmarc" not in got.passed


UPSTREAM = "mx.upstream.example"
OF_UPSTREAM = b"Authentication-Results: mx.upstream.example; spf=none smtp.mailfrom=attacker.example\r\n"
BY_UPSTREAM = b"Received: from x by mx.upstream.example; Mon, 1 Jan 2027 00:00:00 +0000\r\n"
IN_ITS_NAME = (
    b"Authentication-Results: mx.upstream.example; spf=pass smtp.mailfrom=bank.example;\r\n"
    b"\tdkim=pass header.d=bank.example; dmarc=pass header.from=bank.example\r\n"
)


async def test_what_an_upstream_found_is_taken_and_said_to_be_its_word() -> None:
    (upstream,) = upstreams = (Upstream(UPSTREAM, ("192.0.2.66",)),)
    assert upstream.brings(ip_address("192.0.2.66"))
    for raw, passed in ((IN_ITS_NAME + BY_UPSTREAM, {"spf", "dmarc"}), (OF_UPSTREAM + BY_UPSTREAM, set())):
        got = await judged(raw + FROM_BANK + REST, sender="ceo@bank.example", upstreams=upstreams)
        assert got.passed == passed
        assert got.ours.all("spf")[0].reason == "as mx.upstream.example says"


@pytest.mark.parametrize("strangers", [IN_ITS_NAME, BY_UPSTREAM + IN_ITS_NAME, b" x\r\n" + IN_ITS_NAME])
async def test_what_a_stranger_says_in_an_upstreams_name_passes_nowhere(strangers: bytes) -> None:
    upstreams = (Upstream(UPSTREAM, ("192.0.2.66",)),)
    for top in (OF_UPSTREAM + BY_UPSTREAM, BY_UPSTREAM):
        got = await judged(top + strangers + FROM_BANK + REST, sender="ceo@bank.example", upstreams=upstreams)
        assert got.passed == set(), got.ours
        assert "DMARC_ARC" not in got.rules


@pytest.mark.parametrize("upstreams", [(), (Upstream(UPSTREAM, ("192.0.2.67",), removes_forged=True),)])
async def test_whoever_is_no_upstream_has_no_word(upstreams: tuple[Upstream, ...]) -> None:
    got = await judged(IN_ITS_NAME + BY_UPSTREAM + FROM_BANK + REST, sender="ceo@bank.example", upstreams=upstreams)
    assert got.passed == set(), got.ours
    assert {"SPF_FAIL", "DMARC_REJECT"} <= got.rules


async def test_an_upstream_does_not_make_one_author_of_two() -> None:
    upstreams = (Upstream(UPSTREAM, ("192.0.2.66",)),)
    for author in READ_DIFFERENTLY.values():
        got = await judged(IN_ITS_NAME + BY_UPSTREAM + author + REST, sender="ceo@bank.example", upstreams=upstreams)
        assert got.passed == set(), got.ours


async def test_results_of_others_stay_and_are_not_ours() -> None:
    other = b"Authentication-Results: mx.example.com; dmarc=pass header.from=bank.example\r\n"
    got = await judged(other + FROM_BANK + REST)
    assert got.claims == 1
    assert "dmarc" not in got.passed
