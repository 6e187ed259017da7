"""Greylisting met by real sessions: pools, codes, answers, and what is answered to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from gatekeeper.model import Action, Address, Mail, Recipient, Stage, Verdict
from gatekeeper.servers.peers import Peers
from tests.support.smtp_client import LETTER
from tests.support.worker import Worker, worker

SETTINGS = "[policy]\ngreylist = 3.0\n[policy.scores]\nDKIM_NONE = 3.5\nFROM_MISSING = 0.0\nDATE_MISSING = 0.0\n"
"""What is not signed is in doubt."""
POOL = [f"198.51.{n}.{n + 1}" for n in range(20)]
ZONE = {
    ("pool.example", "TXT"): ['"v=spf1 ip4:198.51.0.0/16 -all"'],
    ("pool.example", "A"): ["198.51.100.1"],
    ("none.example", "TXT"): ['"v=spf1 ?all"'],
    ("none.example", "A"): ["198.51.100.2"],
}


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_014_400.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def w(tmp_path: Path, clock: Clock) -> AsyncIterator[Worker]:
    async with worker(tmp_path, zone=ZONE, settings=SETTINGS, clock=clock) as one:
        yield one


async def sent(w: Worker, address: str, sender: str, to: str = "one@example.org") -> str:
    async with w.client(address) as client:
        return await client.mail(LETTER, sender=sender, to=to)


async def test_a_pool_sender_is_never_put_off_more_than_once(w: Worker, clock: Clock) -> None:
    answers = []
    for address in POOL:
        answers.append((await sent(w, address, "codes@pool.example"))[:3])
        clock.now += 60  # no mail server tries again sooner
    assert answers == ["451"] + ["250"] * 19


async def test_a_pool_that_tries_again_from_anywhere_is_taken(w: Worker, clock: Clock) -> None:
    assert (await sent(w, POOL[0], "codes@pool.example"))[:3] == "451"
    clock.now += 240
    for address in POOL[1:]:
        assert (await sent(w, address, "codes@pool.example", to="two@example.org"))[:3] == "250"


async def test_the_answer_says_when(w: Worker, clock: Clock) -> None:
    first = await sent(w, "192.0.2.7", "a@none.example")
    assert first.startswith("451 4.7.1 Your mail server is not known here yet, try again after 12:0")
    clock.now += 30
    second = await sent(w, "192.0.2.7", "a@none.example")
    assert second.partition(", in ")[0] == first.partition(", in ")[0]


async def test_what_is_in_no_doubt_is_never_put_off(tmp_path: Path, clock: Clock) -> None:
    async with worker(tmp_path, zone=ZONE, settings="[policy]\ngreylist = 4.5\n", clock=clock) as w:
        assert (await sent(w, "192.0.2.7", "a@none.example"))[:3] == "250"


async def test_nobody_is_put_off_for_a_message_that_postmaster_gets(w: Worker) -> None:
    async with w.client("192.0.2.7") as client:
        await client.say("MAIL FROM:<a@none.example>", "RCPT TO:<one@example.org>")
        assert (await client("RCPT TO:<postmaster@example.org>"))[:3] == "250"
        await client("DATA")
        assert (await client.message())[:3] == "250"


async def test_a_domain_whose_mail_was_wanted_is_not_put_off(w: Worker, clock: Clock) -> None:
    await w.parts.store.remember("dom:pool.example", accepted=3, refused=0, now=clock.now - 2 * 86400)
    assert (await sent(w, POOL[7], "codes@pool.example"))[:3] == "250"


async def test_what_is_wanted_makes_its_domain_known(tmp_path: Path, clock: Clock) -> None:
    async with worker(tmp_path, zone=ZONE, settings="[policy]\ngreylist = 4.5\n", clock=clock) as w:
        for _ in range(3):
            await sent(w, POOL[0], "codes@pool.example")
        await w.parts.gate.flush()
        [history] = await w.parts.store.history(["dom:pool.example"])
        assert history.accepted == 3


async def test_an_answer_to_our_users_is_not_put_off_nor_what_they_write(w: Worker) -> None:
    w.server.guard._ours = Peers(["192.0.2.100/32"])
    async with w.client("192.0.2.100") as client:
        assert (await client.mail(sender="one@example.org", to="friend@none.example"))[:3] == "250"
    await w.parts.gate.flush()
    assert (await sent(w, "192.0.2.7", "friend@none.example"))[:3] == "250"
    assert (await sent(w, "192.0.2.7", "stranger@none.example"))[:3] == "451"


async def test_where_no_message_is_seen_it_is_asked_at_each_recipient(tmp_path: Path, clock: Clock) -> None:
    scores = SETTINGS + "SPF_NEUTRAL = 3.5\n"
    async with worker(tmp_path, zone=ZONE, settings=scores, clock=clock) as w:

        async def asked(name: str) -> Verdict:
            gate = w.parts.gate
            session = gate.session("policy_service")
            session.address, session.helo, session.shows_messages = ip_address("192.0.2.7"), "mail.example.net", False
            mail = Mail(session, gate.envelope(session))
            mail.envelope.sender = Address("a", "none.example")
            mail.recipient = Recipient(Address(name, "example.org"))
            return await gate.judge(Stage.RCPT, mail)

        assert (await asked("one")).action is Action.GREYLIST
        assert (await asked("postmaster")).action is Action.ACCEPT
        clock.now += 61
        assert (await asked("two")).action is Action.ACCEPT


async def test_a_record_says_who_was_put_off_and_who_came_back(w: Worker, clock: Clock) -> None:
    await sent(w, "192.0.2.7", "a@none.example")
    clock.now += 240
    await sent(w, "192.0.2.7", "a@none.example")
    came, put_off = await w.records()
    assert (put_off.action, came.action) == ("greylist", "accept")
    assert [f.rule for f in came.findings if f.rule.startswith("GREYLIST")] == ["GREYLIST_PASSED"]
    assert any(f.rule == "GREYLIST_WAIT" for f in put_off.findings)
