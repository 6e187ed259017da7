from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gatekeeper.checks.base import ReverseName, Tools
from gatekeeper.checks.dkim import Dkim, Replay
from gatekeeper.dns.resolver import Status
from gatekeeper.mailauth.dkim import DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.model import Envelope, Finding, Mail, Missing, Recipient, Session
from gatekeeper.store.base import Store
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.address import parse_path
from tests.support.dkim_signer import record, signed
from tests.support.fake_resolver import FakeResolver
from tests.support.fake_store import FakeStore
from tests.support.mail import message_of

NAME = ("sel._domainkey.example.com", "TXT")
KEY = rsa.generate_private_key(65537, 1024)
MAIL = b"From: Joe <joe@example.com>\r\nTo: ann@example.net\r\nSubject: dinner\r\n\r\nHi.\r\n"
SHORT = (  # 512 bits
    b"p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALgSoqXVSEmfcIsOzw7oRuCCOwsmtX/SJnTWxYyj2leFxfS/AVJ+dYfY+hXqMsT7l+MZvvh/R1Wz"
    b"N4MO/kI/7XsCAwEAAQ=="
)


async def inspect(
    raw: bytes | None,
    key: Any = None,
    check: Dkim | None = None,
    *,
    store: Store | None = None,
    recipients: Sequence[str] = (),
    address: str | None = None,
) -> list[Finding | Missing]:
    session = Session("s", "smtp", 0.0, address=ip_address(address) if address else None)
    envelope = Envelope("e", recipients=[Recipient(parse_path(each)) for each in recipients])
    mail = Mail(session, envelope, message_of(raw) if raw is not None else None)
    resolver = FakeResolver({NAME: [record(KEY)] if key is None else key})
    tools = Tools(resolver, store or MemoryStore(), lambda: 1_800_000_000.0, "mx.example.org", frozenset())
    return list(await (check or Dkim()).inspect(mail, tools))


@pytest.mark.parametrize(
    ("raw", "key", "rule", "text"),
    [
        (MAIL, None, "DKIM_NONE", ""),
        (signed(MAIL, KEY), None, "DKIM_PASS", "example.com: pass"),
        (
            signed(MAIL, KEY).replace(b"Hi.", b"Ho."),
            None,
            "DKIM_FAIL",
            "example.com: fail (the body is not what was signed)",
        ),
        (signed(MAIL, KEY, limit=1), None, "DKIM_PARTIAL", "example.com: policy (4 octets of the body are not signed)"),
        (signed(MAIL, KEY, x="1000"), None, "DKIM_POLICY", "example.com: policy (signature has expired)"),
        (signed(MAIL, KEY), [SHORT], "DKIM_WEAK_KEY", "example.com: policy (a key of 512 bits proves nothing)"),
        (signed(MAIL, KEY), [], "DKIM_INVALID", "example.com: permerror (there is no such key)"),
        (
            signed(MAIL.replace(b"<joe@", b"(x) <joe(x)@"), KEY),
            None,
            "DKIM_AMBIGUOUS",
            "example.com: policy (two readers might see two authors: comment)",
        ),
        (signed(MAIL, KEY, d="?"), None, "DKIM_INVALID", "?: neutral (d= or s= is not a name)"),
        (signed(MAIL, KEY), [record(KEY, "v=DKIM1; t=y")], "DKIM_NONE", ""),
        (signed(MAIL, KEY).replace(b"Hi.", b"Ho."), [record(KEY, "v=DKIM1; t=y")], "DKIM_NONE", ""),
    ],
)
async def test_each_result_is_a_rule(raw: bytes, key: Any, rule: str, text: str) -> None:
    (found,) = await inspect(raw, key)
    assert isinstance(found, Finding)
    assert (found.rule, found.text) == (rule, text)
    assert isinstance(found.evidence, DkimResults)


async def test_who_vouches_needs_no_excuse_for_a_broken_signature() -> None:
    (found,) = await inspect(signed(MAIL, KEY, d="other.test").partition(b"From:")[0] + signed(MAIL, KEY))
    assert isinstance(found, Finding)
    assert found.rule == "DKIM_PASS"
    assert [one.code for one in found.evidence.results] == [DkimCode.PERMERROR, DkimCode.PASS]


async def test_without_an_answer_every_other_rule_is_missing() -> None:
    found, missing = await inspect(signed(MAIL, KEY), Status.TIMEOUT)
    assert isinstance(found, Finding)
    assert (found.rule, found.evidence.results[0].code) == ("DKIM_TEMPERROR", DkimCode.TEMPERROR)
    assert missing == Missing(
        "dkim",
        (
            "DKIM_PASS",
            "DKIM_FAIL",
            "DKIM_PARTIAL",
            "DKIM_AMBIGUOUS",
            "DKIM_WEAK_KEY",
            "DKIM_POLICY",
            "DKIM_INVALID",
            "DKIM_NONE",
            "DKIM_UNCOVERED",
            "DKIM_REPLAY",
        ),
        "no answer about the key",
    )


async def test_without_a_message_nothing_is_found() -> None:
    assert await inspect(None) == []


async def test_how_many_signatures_are_verified_can_be_set() -> None:
    raw = signed(MAIL, KEY).partition(b"From:")[0] * 3 + MAIL
    (found,) = await inspect(raw, check=Dkim(signatures=2))
    assert isinstance(found, Finding)
    assert (len(found.evidence.results), found.evidence.found) == (2, 3)
    with pytest.raises(ValueError, match="1 to 50"):
        Dkim(signatures=0)


async def test_what_readers_are_shown_and_nobody_signed_is_told_and_weighs_nothing() -> None:
    passed, uncovered = await inspect(signed(MAIL, KEY, h="from"))
    assert isinstance(passed, Finding)
    assert isinstance(uncovered, Finding)
    assert (passed.rule, uncovered.rule, uncovered.text) == ("DKIM_PASS", "DKIM_UNCOVERED", "not signed: to, subject")
    # Another signature that covers them makes up for it.
    both = signed(MAIL, KEY, h="from").partition(b"From:")[0] + signed(MAIL, KEY)
    assert [one.rule for one in await inspect(both) if isinstance(one, Finding)] == ["DKIM_PASS"]


async def replayed(check: Dkim, deliveries: Sequence[tuple[str, list[str]]]) -> list[list[str]]:
    """The rules of each delivery of one and the same signed message."""
    store, raw = MemoryStore(), signed(MAIL, KEY)
    return [
        [one.rule for one in await inspect(raw, check=check, store=store, recipients=to, address=by)
         if isinstance(one, Finding)]
        for by, to in deliveries
    ]  # fmt: skip


async def test_one_signature_to_many_whom_it_does_not_name_is_a_replay() -> None:
    check = Dkim(replay_recipients=3)
    got = await replayed(check, [("192.0.2.1", [f"u{n}@ours.example"]) for n in range(5)])
    assert got == [["DKIM_PASS"]] * 3 + [["DKIM_PASS", "DKIM_REPLAY"]] * 2
    at_once = await replayed(check, [("192.0.2.1", [f"u{n}@ours.example" for n in range(5)])])
    assert at_once == [["DKIM_PASS", "DKIM_REPLAY"]]


async def test_those_who_are_named_and_those_who_get_it_again_are_not_counted() -> None:
    check = Dkim(replay_recipients=1)
    again = await replayed(check, [("192.0.2.1", ["Ann@example.net", "u1@ours.example"])] * 5)
    assert again == [["DKIM_PASS"]] * 5


async def test_a_field_too_long_to_be_read_names_those_whose_address_stands_in_it() -> None:
    long = MAIL.replace(
        b"To: ann@example.net", b"To: " + b"".join(b"ann@example.net,\r\n u%d@x.example,\r\n " % n for n in range(400))
    )
    raw, store, check = signed(long, KEY), MemoryStore(), Dkim(replay_recipients=1)
    for _ in range(2):
        found = await inspect(
            raw, check=check, store=store, recipients=["Ann@example.net", "a@b.c"], address="192.0.2.1"
        )
        assert [one.rule for one in found if isinstance(one, Finding)] == ["DKIM_PASS"]
    found = await inspect(raw, check=check, store=store, recipients=["c@b.c"], address="192.0.2.1")
    assert "DKIM_REPLAY" in [one.rule for one in found if isinstance(one, Finding)]


async def test_one_signature_from_many_networks_is_a_replay() -> None:
    check = Dkim(replay_networks=2)
    near = await replayed(check, [(f"192.0.2.{n}", ["ann@example.net"]) for n in range(9)])
    assert near == [["DKIM_PASS"]] * 9
    far = await replayed(check, [(f"192.0.{n}.1", ["ann@example.net"]) for n in range(4)])
    assert far == [["DKIM_PASS"]] * 2 + [["DKIM_PASS", "DKIM_REPLAY"]] * 2
    assert (await replayed(check, [("2001:db8:1::1", []), ("2001:db8:2::1", []), ("2001:db8:3::1", [])]))[-1] == [
        "DKIM_PASS", "DKIM_REPLAY",
    ]  # fmt: skip


async def test_a_replay_says_what_was_seen() -> None:
    store, check = MemoryStore(), Dkim(replay_recipients=1)
    found = await inspect(signed(MAIL, KEY), check=check, store=store, recipients=["a@o.example", "b@o.example"])
    replay = next(one for one in found if isinstance(one, Finding) and one.rule == "DKIM_REPLAY")
    assert isinstance(replay.evidence, Replay)
    assert asdict(replay.evidence) | {"digest": ""} == {
        "domain": "example.com", "digest": "", "recipients": 2, "networks": 0,
    }  # fmt: skip


def vouched(raw: bytes, *, spf: str | None = None, name: ReverseName | None = None, address: str = "192.0.2.1") -> Mail:
    """A message to five that it does not name, by a client about which this is known."""
    recipients = [Recipient(parse_path(f"u{n}@ours.example")) for n in range(5)]
    session = Session("s", "smtp", 0.0, address=ip_address(address))
    mail = Mail(session, Envelope("e", recipients=recipients), message_of(raw))
    if spf is not None:
        mail.envelope.notebook.findings.append(Finding("X", SpfResult(SpfCode.PASS, spf, SpfIdentity.MAILFROM)))
    if name is not None:
        session.notebook.findings.append(Finding("X", name))
    return mail


async def rules_of(mail: Mail, store: Store | None = None) -> list[str]:
    other = ("sel._domainkey.attacker.example", "TXT")
    resolver = FakeResolver({NAME: [record(KEY)], other: [record(KEY)]})
    tools = Tools(resolver, store or MemoryStore(), lambda: 1_800_000_000.0, "mx.example.org", frozenset())
    return [one.rule for one in await Dkim(replay_recipients=3).inspect(mail, tools) if isinstance(one, Finding)]


async def test_what_the_signers_own_client_brings_to_many_is_no_replay() -> None:
    """A newsletter, or a list that signs what it sends on."""
    raw = signed(MAIL, KEY)
    assert await rules_of(vouched(raw)) == ["DKIM_PASS", "DKIM_REPLAY"]
    assert await rules_of(vouched(raw, spf="bounces.example.com")) == ["DKIM_PASS"]
    assert await rules_of(vouched(raw, name=ReverseName("out7.Example.com", confirmed=True))) == ["DKIM_PASS"]
    assert "DKIM_REPLAY" in await rules_of(vouched(raw, spf="attacker.example"))
    assert "DKIM_REPLAY" in await rules_of(vouched(raw, name=ReverseName("out7.example.com", confirmed=False)))


async def test_a_list_that_signs_what_it_sends_on_has_its_own_signature_counted() -> None:
    raw = signed(MAIL.replace(b"From: Joe <joe@example.com>", b"From: Joe <joe@author.example>"), KEY)
    assert await rules_of(vouched(raw, spf="lists.example.com")) == ["DKIM_PASS"]


async def test_a_client_long_known_as_good_may_send_on_what_it_is_asked_to() -> None:
    """A list or forwarder that leaves the author's signature as it is."""
    store, now = MemoryStore(), 1_800_000_000.0
    await store.remember("ip:192.0.2.1", accepted=25, refused=1, now=now - 20 * 86400)
    await store.remember("ip:192.0.3.1", accepted=25, refused=1, now=now - 3600)
    await store.remember("ip:192.0.4.1", accepted=25, refused=9, now=now - 20 * 86400)
    raw = signed(MAIL, KEY)
    got = [await rules_of(vouched(raw, address=each), store) for each in ("192.0.2.1", "192.0.3.1", "192.0.4.1")]
    assert got == [["DKIM_PASS"], ["DKIM_PASS", "DKIM_REPLAY"], ["DKIM_PASS", "DKIM_REPLAY"]]


async def test_a_signature_of_its_own_on_top_does_not_hide_a_replay() -> None:
    store = MemoryStore()
    got = []
    for n in range(5):
        raw = signed(b"X-Count: %d\r\n" % n + signed(MAIL, KEY), KEY, d="attacker.example", h="from:x-count")
        mail = vouched(raw, spf="attacker.example")
        mail.envelope.recipients = mail.envelope.recipients[n : n + 1]
        got.append("DKIM_REPLAY" in await rules_of(mail, store))
    assert got == [False, False, False, True, True]


def away() -> FakeStore:
    store = FakeStore()
    store.away = True
    return store


async def test_without_the_store_a_replay_cannot_be_told() -> None:
    passed, missing = await inspect(signed(MAIL, KEY), store=away(), recipients=["a@o.example"])
    assert isinstance(passed, Finding)
    assert missing == Missing("dkim:replay", ("DKIM_REPLAY",), "StoreAway")


async def test_replays_can_be_left_alone() -> None:
    check = Dkim(replay_recipients=0, replay_networks=0)
    assert "DKIM_REPLAY" not in [rule.name for rule in check.rules()]
    assert len(await inspect(signed(MAIL, KEY), check=check, store=away(), recipients=["a@o.example"])) == 1
    for wrong in ({"replay_recipients": -1}, {"replay_networks": 5000}, {"replay_window": 1.0}):
        with pytest.raises(ValueError, match="replay_"):
            Dkim(**wrong)
