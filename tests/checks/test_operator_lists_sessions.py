"""The operator's lists and automatic blocks met by real sessions."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gatekeeper.checks.list_source import put_added
from gatekeeper.records import standing
from gatekeeper.wire.list_lines import ListEntry
from tests.support.worker import Worker, worker

PROBER, OTHER = "198.51.100.77", "192.0.2.10"


def listed(directory: Path, *lines: str) -> str:
    file = directory / "local.list"
    file.write_text("".join(f"{line}\n" for line in lines))
    return f'[checks.operator_lists]\nfiles = ["{file}"]\n'


async def probe(w: Worker, address: str) -> str:
    """Ask for names until we are cut off, or for a hundred; the last answer."""
    answer = ""
    for n in range(100):
        w.hop.recipients[f"guess{n}@example.org"] = "550 5.1.1 No such user"
    async with w.client(address) as client:
        await client("MAIL FROM:<a@example.net>")
        for n in range(100):
            answer = await client(f"RCPT TO:<guess{n}@example.org>")
            if answer[:3] == "421":
                break
    return answer[:3]


SLOWLESS = '[checks.stacking]\nslow_delay = "0s"\n'


async def test_each_automatic_block_is_explained_and_ends_when_it_is_removed(tmp_path: Path) -> None:
    async with worker(tmp_path, settings=SLOWLESS) as w:
        assert await probe(w, PROBER) == "421"
        await w.parts.recorder.flush()
        store, now = w.parts.store, time.time()
        about = {rule.name: rule.about for rule in w.parts.policy.rules.values()}
        [block] = await standing.blocks(store, about, now=now)
        assert block.whom == PROBER
        assert block.reason == "STACKING_BLOCKED"
        assert block.about
        assert "points spent" in block.evidence
        assert block.until > now
        assert [one.id for one in await w.records(id=block.record)] == [block.record]
        removed = await standing.remove(store, [], PROBER, f"{PROBER}/32", now=now, token="1")
        assert removed.blocks == (f"ip:{PROBER}",)
        async with w.client(PROBER) as client:
            assert (await client.mail())[:3] == "250"


@pytest.mark.parametrize("line", [f"exempt address {PROBER}", f"allow address {PROBER}"])
async def test_whom_the_operator_knows_is_not_cut_off_for_probing(tmp_path: Path, line: str) -> None:
    async with worker(tmp_path, settings=SLOWLESS + listed(tmp_path, line)) as w:
        assert await probe(w, PROBER) == "550"
        async with w.client(PROBER) as client:
            assert (await client.mail())[:3] == "250"


async def test_a_line_about_a_recipient_that_stands_first_counts_first(tmp_path: Path) -> None:
    lines = "deny recipient gone@example.org because it closed", f"allow address {OTHER}"
    async with worker(tmp_path, settings=listed(tmp_path, *lines)) as w, w.client(OTHER) as client:
        await client("MAIL FROM:<a@example.net>")
        assert (await client("RCPT TO:<gone@example.org>")).startswith("550 5.7.1 it closed")
        assert (await client("RCPT TO:<one@example.org>"))[:3] == "250"
        await client("DATA")
        assert (await client.message())[:3] == "250"


async def test_what_is_allowed_passes_whatever_it_scores(tmp_path: Path) -> None:
    settings = listed(tmp_path, f"allow address {OTHER}") + "[policy.scores]\nDKIM_NONE = 20.0\nSPF_NONE = 20.0\n"
    async with worker(tmp_path, settings=settings) as w:
        async with w.client(OTHER) as client:
            assert (await client.mail())[:3] == "250"
        async with w.client(PROBER) as client:
            await client("MAIL FROM:<a@example.net>")
            assert (await client("RCPT TO:<one@example.org>"))[:3] == "550"  # nothing is waited for


async def test_a_sender_is_let_in_where_its_domain_shows_it(tmp_path: Path) -> None:
    zone = {("partner.example", "TXT"): [f'"v=spf1 ip4:{OTHER} -all"']}
    settings = listed(tmp_path, "allow sender @partner.example") + "[policy.scores]\nDKIM_NONE = 20.0\n"
    async with worker(tmp_path, zone=zone, settings=settings) as w:
        for address, code in ((OTHER, "250"), (PROBER, "550")):
            async with w.client(address) as client:
                assert (await client.mail(sender="ann@partner.example"))[:3] == code


async def test_what_is_added_while_sessions_go_on_counts_for_their_next_mail(tmp_path: Path) -> None:
    async with worker(tmp_path, settings=listed(tmp_path, "# nobody")) as w, w.client(OTHER) as client:
        assert (await client.mail())[:3] == "250"
        entry = ListEntry("deny", "address", f"{OTHER}/32", reason="not any more")
        await put_added(w.parts.store, entry, by="", now=time.time(), token="1")
        source = w.configuration.check("operator_lists")._source  # type: ignore[union-attr]  # half a second has gone by
        source._look_at = 0.0
        await client("MAIL FROM:<a@example.net>")
        assert (await client("RCPT TO:<one@example.org>")).startswith("550 5.7.1 not any more")


async def test_a_client_that_is_let_in_is_not_refused_for_a_sender_that_takes_no_mail(tmp_path: Path) -> None:
    zone = {("null.example", "MX"): ["0 ."]}
    async with worker(tmp_path, zone=zone, settings=listed(tmp_path, f"allow address {OTHER}")) as w:
        for client_address, code in ((PROBER, "550"), (OTHER, "250")):
            async with w.client(client_address) as client:
                await client("MAIL FROM:<a@null.example>")
                assert (await client("RCPT TO:<one@example.org>"))[:3] == code
