"""Recipient stacking met by real sessions: whatever a harvester does, it learns little, and others are not harmed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatekeeper.store.memory import MemoryStore
from tests.support.next_hop import FakeNextHop
from tests.support.smtp_client import SmtpClient
from tests.support.worker import Worker, worker

PROBER, OTHER = "198.51.100.77", "192.0.2.10"
# A budget comes back while it is being spent, if only by a hair: each step may come one name later than it reads.
SETTINGS = '[checks.stacking]\nbudget = 5.0\nslow_delay = "0s"\n'


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path, settings=SETTINGS) as one:
        for n in range(100):
            one.hop.recipients[f"guess{n}@example.org"] = "550 5.1.1 No such user"
        yield one


async def mail(client: SmtpClient, *names: str, until: str = "") -> list[str]:
    """MAIL, and the code that each name gets, until one gets that one."""
    assert (await client("MAIL FROM:<a@example.net>"))[:3] == "250"
    codes: list[str] = []
    for name in names:
        codes.append((await client(f"RCPT TO:<{name}@example.org>"))[:3])
        if codes[-1] == until:
            break
    return codes


def asked(hop: FakeNextHop) -> int:
    return hop.verbs.count("RCPT")


async def turned_away(w: Worker, address: str) -> bool:
    """Whether that client is refused as soon as it says who it is."""
    async with SmtpClient(w.port) as client:
        await client("EHLO proxy.example")
        prefix = "IPV6:" if ":" in address else ""
        return (await client(f"XCLIENT ADDR={prefix}{address}"))[:3] == "421"


async def unharmed(w: Worker) -> bool:
    async with w.client(OTHER) as client:
        return (await client.mail())[:3] == "250"


async def test_a_run_of_names_ends_alike_for_all_and_then_for_good(w: Worker) -> None:
    async with w.client(PROBER) as client:
        codes = await mail(client, *(f"guess{n}" for n in range(40)), until="421")
        assert codes == sorted(codes, key=["550", "451", "421"].index)
        assert 10 <= codes.count("550") <= 11
        assert 9 <= codes.count("451") <= 10
        assert await client.gone()
    assert asked(w.hop) <= 11
    assert await turned_away(w, PROBER)
    assert await unharmed(w)


async def test_known_and_unknown_names_read_the_same_once_the_budget_is_spent(w: Worker) -> None:
    async with w.client(PROBER) as client:
        await mail(client, *(f"guess{n}" for n in range(20)), until="451")
        answers = {await client(f"RCPT TO:<{name}@example.org>") for name in ("one", "guess50", "two", "guess51")}
    assert len(answers) == 1
    assert answers.pop().startswith("451 4.7.1 ")


async def test_recipients_accepted_earlier_stay_and_their_mail_is_taken(w: Worker) -> None:
    async with w.client(PROBER) as client:
        codes = await mail(client, "one", *(f"guess{n}" for n in range(12)))
        assert codes[0] == "250"
        assert codes[-1] == "451"
        assert (await client("DATA"))[:3] == "354"
        assert (await client.message())[:3] == "250"
    assert w.hop.messages[-1].recipients == ["one@example.org"]


@pytest.mark.parametrize("ending", ["RSET", "EHLO again.example.net"])
async def test_giving_up_after_each_name_in_one_session_is_counted(w: Worker, ending: str) -> None:
    seen: list[str] = []
    async with w.client(PROBER) as client:
        while seen[-1:] != ["421"] and len(seen) < 200:
            seen += await mail(client, f"known{len(seen)}")  # each of them exists
            if seen[-1] != "421":
                await client(ending)
    assert seen.count("250") <= 21  # 10 points at half a point each
    assert "451" in seen
    assert seen[-1] == "421"


@pytest.mark.parametrize("name", ["known", "guess"])
async def test_one_name_for_each_session_is_counted(w: Worker, name: str) -> None:
    for n in range(100):
        if await turned_away(w, PROBER):
            break
        async with w.client(PROBER) as client:
            await mail(client, f"{name}{n}")
            await client("QUIT")
            assert await client.gone()
    else:
        pytest.fail("never turned away")
    assert n <= 51
    assert await unharmed(w)


async def test_vrfy_tells_nothing_and_is_counted(w: Worker) -> None:
    answers = set()
    async with w.client(PROBER) as client:
        for n in range(50):
            answers.add(await client(f"VRFY {'one' if n % 2 else f'guess{n}'}@example.org"))
        await client("QUIT")
        assert await client.gone()
    assert len(answers) == 1
    assert answers.pop()[:3] == "252"
    assert asked(w.hop) == 0
    assert await turned_away(w, PROBER)


async def test_moving_through_a_64_does_not_help(w: Worker) -> None:
    for n in range(40):
        address = f"2001:db8:7:7::{n + 1:x}"
        if await turned_away(w, address):
            break
        async with w.client(address) as client:
            await mail(client, f"guess{n}")
            await client("QUIT")
            assert await client.gone()
    assert n <= 21
    assert await turned_away(w, "2001:db8:7:7:ffff::1")
    assert not await turned_away(w, "2001:db8:8:7::1")


async def test_postmaster_hears_from_a_client_that_learns_nothing_else(w: Worker) -> None:
    async with w.client(PROBER) as client:
        codes = await mail(client, *(f"guess{n}" for n in range(20)), until="451")
        assert codes[-1] == "451"
        for _ in range(30):  # as often as it likes: to write there is no probe
            assert (await client("RCPT TO:<postmaster@example.org>"))[:3] == "250"
        assert (await client("RCPT TO:<one@example.org>"))[:3] == "451"
        assert (await client("DATA"))[:3] == "354"
        assert (await client.message())[:3] == "250"


async def test_the_null_sender_is_treated_as_any_other(w: Worker) -> None:
    async with w.client(OTHER) as client:
        for n in range(30):
            assert (await client.mail(sender="", to=f"known{n}@example.org"))[:3] == "250"


async def test_a_client_whose_mail_was_wanted_has_more_room(tmp_path: Path) -> None:
    store = MemoryStore()
    for key in (f"ip:{PROBER}", "net:198.51.100.0/24"):
        await store.remember(key, accepted=100, refused=0, now=1_700_000_000.0)
    async with worker(tmp_path, store=store, settings=SETTINGS) as w:
        for n in range(100):
            w.hop.recipients[f"guess{n}@example.org"] = "550 5.1.1 No such user"
        async with w.client(PROBER) as client:
            assert await mail(client, *(f"guess{n}" for n in range(50))) == ["550"] * 50


async def test_each_step_is_a_finding_of_a_record(w: Worker) -> None:
    async with w.client(PROBER) as client:
        await mail(client, *(f"guess{n}" for n in range(40)), until="421")
    found = {f.rule for record in await w.records() for one in record.recipients for f in one.findings}
    assert {"STACKING_SLOW", "STACKING_BLIND", "STACKING_BLOCKED"} <= found
