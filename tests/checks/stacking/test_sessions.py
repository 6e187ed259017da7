"""Recipient stacking met by real sessions: whatever a harvester does, it learns little, and others are not harmed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.checks.stacking.crowd import TRAPS
from gatekeeper.store.memory import MemoryStore
from tests.support.next_hop import FakeNextHop
from tests.support.smtp_client import SmtpClient
from tests.support.worker import Worker, worker

PROBER, OTHER = "198.51.100.77", "192.0.2.10"
# A budget comes back while it is being spent, if only by a hair: each step may come one name later than it reads.
SETTINGS = '[checks.stacking]\nbudget = 5.0\nslow_delay = "0s"\n'


@contextlib.asynccontextmanager
async def stacking(directory: Path, **options: Any) -> AsyncIterator[Worker]:
    async with worker(directory, settings=SETTINGS, **options) as one:
        for n in range(100):
            one.hop.recipients[f"guess{n}@example.org"] = "550 5.1.1 No such user"
        yield one


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[Worker]:
    async with stacking(tmp_path) as one:
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


@pytest.mark.slow
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


@pytest.mark.slow
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


CAUSES = {
    "address": "budget = 5.0\n",
    "network": "budget = 3.0\nnetwork_factor = 1.0\n",
    "helo": "budget = 10.0\nhelo_factor = 1.0\nhelo_networks = 2\nnetwork_factor = 100.0\n",
    "dictionary": "budget = 1000.0\ndictionary_clients = 3\n",
    "domain": 'budget = 1000.0\ndomain_budget = 12\ndomain_at_once = 0\ndictionary_clients = 0\ndomain_wait = "1h"\n',
}
"""What has to be set for each budget to be the one that is spent."""


@pytest.mark.slow
@pytest.mark.parametrize("cause", CAUSES)
async def test_whichever_budget_is_spent_no_next_hop_is_asked_and_all_names_read_the_same_to_the_octet(
    tmp_path: Path, cause: str
) -> None:
    settings = f'[checks.stacking]\nslow_delay = "0s"\nblock_at = 1000.0\n{CAUSES[cause]}'
    async with worker(tmp_path, settings=settings) as w:
        for n in range(400):
            w.hop.recipients[f"guess{n}@example.org"] = "550 5.1.1 No such user"
        for n in range(8):
            same = cause in {"address", "dictionary"}
            names = [f"guess{k if same else 40 * n + k}" for k in range(4 if cause != "address" else 20)]
            address = {"address": PROBER, "network": f"198.51.100.{n + 1}"}.get(cause, f"10.0.{n}.1")
            async with w.client(address, helo="bot.example") as client:
                await mail(client, *names)
                await client("QUIT")
                assert await client.gone()
        last = {"address": PROBER, "dictionary": "10.0.7.1"}.get(cause, "198.51.100.99" if cause == "network" else "")
        before = asked(w.hop)
        async with w.client(last or "203.0.113.9", helo="bot.example") as client:
            assert (await client("MAIL FROM:<a@example.net>"))[:3] == "250"
            names = [name for n in range(15) for name in (f"real{n}", f"guess{n + 360}", f"guess{n}")]
            one_by_one = [await client(f"RCPT TO:<{name}@example.org>") for name in names]
            together = await client.burst(*(f"RCPT TO:<{name}@example.org>" for name in names))
        assert asked(w.hop) == before
        assert set(one_by_one) == set(together) == {one_by_one[0]}
        assert one_by_one[0].startswith("451 4.7.1 ")
        found = [
            f
            for r in await w.records(address=f"{last or '203.0.113.9'}/24")
            for one in r.recipients
            for f in one.findings
        ]
        assert "STACKING_BLIND" in {f.rule for f in found}
        if cause in {"dictionary", "domain"}:
            assert f"STACKING_{cause.upper()}" in {f.rule for f in found}
        else:
            kinds = {"address": "ip:", "network": "net:", "helo": "helo:"}
            assert any(
                f.rule == "STACKING_BLIND" and (f.evidence or {})["whom"].startswith(kinds[cause]) for f in found
            )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["known", "guess"])
async def test_a_client_told_by_xclient_is_charged_though_another_one_follows_in_its_session(
    tmp_path: Path, name: str
) -> None:
    """It may only name another where it is a proxy itself."""
    async with stacking(tmp_path, trust=("127.0.0.1", PROBER)) as w:
        for n in range(60):
            async with SmtpClient(w.port) as client:
                await client("EHLO proxy.example")
                if (await client(f"XCLIENT ADDR={PROBER}"))[:3] == "421":
                    break
                await client("EHLO h.example")
                if (await mail(client, f"{name}{n}")) == ["421"]:
                    break
                await client("EHLO proxy.example")
                assert (await client(f"XCLIENT ADDR={OTHER}"))[:3] == "220"
                await client("QUIT")
                assert await client.gone()
        else:
            pytest.fail("never turned away")
        assert await unharmed(w)


async def test_a_trap_is_answered_like_a_name_that_is_not_there_and_the_next_hop_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "former").write_text("left@example.org\n")
    settings = f'[checks.stacking]\nslow_delay = "0s"\nformer = "{tmp_path}/former"\ntraps = ["former"]\n'
    async with worker(tmp_path, settings=settings) as w:
        async with w.client(PROBER) as client:
            assert (await client("MAIL FROM:<a@example.net>"))[:3] == "250"
            assert (await client("RCPT TO:<left@example.org>")).startswith("550 5.1.1 There is no such mailbox here.")
            assert asked(w.hop) == 0
            assert (await client("RCPT TO:<one@example.org>"))[:3] == "250"
            assert (await client("DATA"))[:3] == "354"
            assert (await client.message())[:3] == "250"
        assert b"STACKING_TRAPPED" in w.hop.messages[-1].data
    with_mailbox = settings + 'trap_mail = "pass"\n'
    async with worker(tmp_path, settings=with_mailbox) as w, w.client(PROBER) as client:
        assert (await client.mail(to="left@example.org"))[:3] == "250"
        assert b"STACKING_TRAP" in w.hop.messages[-1].data


async def test_a_mailbox_that_is_made_after_its_name_became_a_trap_has_its_mail(tmp_path: Path) -> None:
    settings = (
        '[checks.stacking]\nslow_delay = "0s"\ntraps = ["hot"]\ntrap_clients = 6\ndictionary_names = 100\n'
        "domain_budget = 0\nnetwork_factor = 100.0\n"
    )
    async with worker(tmp_path, settings=settings) as w:
        w.hop.recipients["sales@example.org"] = "550 5.1.1 No such user"
        for n in range(6):
            async with w.client(f"198.51.100.{n + 1}") as client:
                assert await mail(client, "sales") == ["550"]
                await client("QUIT")
                assert await client.gone()
        assert len(await w.parts.store.notes(TRAPS, now=time.time())) == 1
        async with w.client(OTHER) as client:
            await client("MAIL FROM:<a@example.net>")
            assert await client("RCPT TO:<sales@example.org>") == "550 5.1.1 No such user"
            del w.hop.recipients["sales@example.org"]
        async with w.client(PROBER) as client:
            assert (await client.mail(to="sales@example.org"))[:3] == "250"
            assert b"STACKING" not in w.hop.messages[-1].data
            await client("QUIT")
            assert await client.gone()
        assert await w.parts.store.notes(TRAPS, now=time.time()) == []
