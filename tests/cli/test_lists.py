"""`gatekeeper lists`."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.checks.stacking.crowd import TRAPS
from gatekeeper.checks.stacking.keys import name_key
from gatekeeper.checks.stacking.notes import ALIKE, DICTIONARIES
from gatekeeper.checks.stacking.traps import TRAPPED_BY
from gatekeeper.model import Address
from gatekeeper.store.base import Block, Charge, Note, Sighting, Store
from gatekeeper.store.opening import Settings, open_store
from tests.support.command_line import REJECTED, Ended, with_records
from tests.support.command_line import gatekeeper as call

BLIND = "ip:192.0.2.1"


class Site:
    """A configuration with a file of lists and a store, and the command."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.list = directory / "local.list"
        self.list.write_text(
            "# ours\nexempt address 203.0.113.0/24\nallow sender @partner.example because we know them\n"
        )
        self.file = with_records(
            directory, f'[checks.operator_lists]\nfiles = ["{self.list}"]\n[checks.stacking]\ntraps = ["hot"]\n'
        )

    def __call__(self, *arguments: str) -> Ended:
        return call("lists", *arguments, "-c", self.file)

    def shown(self) -> Any:
        return json.loads(self("show", "--json").out)

    def block(self, key: str, *, record: str = "") -> None:
        async def put(store: Store, now: float) -> None:
            await store.block(Block(key, now, now + 3600, "STACKING_BLOCKED", record))
            await store.spend([Charge(f"stacking:{key}", 10.0, 0.001)], now=now)

        self.keep(put)

    def keep(self, put: Callable[[Store, float], Awaitable[None]]) -> None:
        async def kept() -> None:
            store = open_store(Settings(url=f"sqlite:{self.directory / 'state.db'}"))
            await put(store, time.time())
            await store.close()

        asyncio.run(kept())

    def hold(self) -> None:
        """One client is told no names, one takes part in a dictionary attack, one named a trap, and there is one."""

        async def put(store: Store, now: float) -> None:
            since = json.dumps({"since": now})
            await store.spend([Charge(f"stacking:{BLIND}", 30.0, 10 / 3600)], now=now)
            tried = [Sighting("stacking:dictionary:ip:192.0.2.2", str(n), 3600) for n in range(3)]
            await store.distinct(tried, now=now)
            trapped, trap = json.dumps({"kind": "hot", "since": now}), Address("old\x1b", "example.org")
            made = json.dumps({"since": now, "clients": 21, "address": str(trap)})
            await store.put_notes(
                [
                    Note(ALIKE, BLIND, since, now + 3600),
                    Note(DICTIONARIES, "ip:192.0.2.2", since, now + 3600),
                    Note(TRAPPED_BY, "ip:192.0.2.3", trapped, now + 86400),
                    Note(TRAPS, name_key(trap), made, now + 86400),
                    Note(TRAPS, name_key(Address("old", "example.org")), made.replace("\\u001b", ""), now + 86400),
                ]
            )

        self.keep(put)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_nothing_is_said_where_nothing_stands(tmp_path):
    file = with_records(tmp_path)
    ended = call("lists", "show", "-c", file)
    assert (ended.status, ended.out, ended.err) == (0, "", "nothing is listed and nobody blocked\n")


def test_every_entry_is_shown_with_where_it_stands(site):
    lines = site("show").out.splitlines()
    assert lines[0].split() == ["action", "about", "pattern", "until", "reason", "where"]
    assert lines[1].split() == ["exempt", "address", "203.0.113.0/24", f"{site.list}:2"]
    assert lines[2].split()[-1] == f"{site.list}:3"


def test_every_block_is_shown_with_reason_evidence_end_and_record(site):
    site.block("ip:192.0.2.1", record=REJECTED)
    [block] = site.shown()["blocks"]
    assert (block["whom"], block["reason"], block["record"]) == ("192.0.2.1", "STACKING_BLOCKED", REJECTED)
    assert block["until"] == pytest.approx(block["since"] + 3600)
    assert block["about"].startswith("Too many recipients")
    text = site("show").out
    assert "192.0.2.1" in text
    assert "STACKING_BLOCKED" in text
    assert "\x1b" not in text


def test_an_entry_is_added_shown_first_and_removed(site):
    ended = site("add", "192.0.2.9", "--reason", "floods  our forms", "--until", "2d")
    assert ended.status == 0
    assert ended.out.startswith("added: deny address 192.0.2.9/32 until 20")
    assert ended.out.endswith(" because floods our forms\n")
    first = site.shown()["entries"][0]
    assert (first["action"], first["pattern"], first["place"], first["reason"]) == (
        "deny",
        "192.0.2.9/32",
        "added",
        "floods our forms",
    )
    assert first["until"] == pytest.approx(time.time() + 2 * 86400, abs=60)
    assert site("remove", "192.0.2.9").out == "removed: 192.0.2.9/32\n"
    assert [one["place"] for one in site.shown()["entries"]] == [f"{site.list}:2", f"{site.list}:3"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["@partner.example", "--action", "allow"], "allow sender @partner.example"),
        (["gone@example.org", "--about", "recipient"], "deny recipient gone@example.org"),
        (["*.dyn.example.net", "--until", "2099-12-31"], "deny name *.dyn.example.net until 2100-01-01T00:00:00Z"),
        (["ylmf-pc", "--about", "helo"], "deny helo ylmf-pc"),
    ],
)
def test_what_it_is_about_is_told_by_its_form_or_said(site, arguments, line):
    assert site("add", *arguments).out == f"added: {line}\n"
    assert site("remove", arguments[0], *(arguments[1:3] if "--about" in arguments else [])).status == 0


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (["add", "0.0.0.0/0"], "everybody"),
        (["add", "192.0.2.9", "--action", "block"], "deny, allow or exempt"),
        (["add", "192.0.2.9", "--until", "tomorrow"], "write 2027-01-31"),
        (["add", "192.0.2.9", "--until", "2001-01-01"], "is past"),
        (["add", "192.0.2.9", "--until", "9999999d"], "9999999d is too far away: leave until out"),
        (["add", "192.0.2.9", "--until", "9999-12-31T23:59Z"], "is too far away"),
        (["add", "192.0.2.9", "--until", "9998-12-31T23:59-14:00"], "is too far away"),
        (["add", "192.0.2.9", "--reason", "\x1b[31m"], "printable"),
        (["check", "nobody"], "no IP address"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_mend_and_status_2(site, arguments, mend):
    ended = site(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert mend in ended.err
    assert "\x1b" not in ended.err


def test_a_block_is_removed(site):
    site.block("ip:192.0.2.1")
    assert site("check", "192.0.2.1").status == 1
    assert site("remove", "192.0.2.1").out == "no longer blocked: ip:192.0.2.1\n"
    assert site.shown()["blocks"] == []
    assert site("check", "192.0.2.1").status == 0


def test_whoever_is_told_nothing_or_named_a_trap_is_shown_with_reason_and_end_and_so_is_the_trap(site):
    site.hold()
    held = {(one["key"], one["reason"]): one for one in site.shown()["held"]}
    assert sorted(held) == [
        ("ip:192.0.2.1", "STACKING_BLIND"),
        ("ip:192.0.2.2", "STACKING_DICTIONARY"),
        ("ip:192.0.2.3", "STACKING_TRAPPED"),
        ("trap:old\x1b@example.org", "STACKING_TRAPPED"),
        ("trap:old@example.org", "STACKING_TRAPPED"),
    ]
    blind = held["ip:192.0.2.1", "STACKING_BLIND"]
    assert blind["until"] == pytest.approx(time.time() + 3600, abs=60)
    assert blind["evidence"] == "30 points spent of 10"
    text = site("show").out
    assert text.splitlines()[3].split() == ["held", "since", "until", "reason", "evidence"]
    assert "STACKING_DICTIONARY" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("what", "key", "reason", "before"),
    [
        ("192.0.2.1", "ip:192.0.2.1", "STACKING_BLIND", 1),
        ("192.0.2.2", "ip:192.0.2.2", "STACKING_DICTIONARY", 1),
        ("192.0.2.3", "ip:192.0.2.3", "STACKING_TRAPPED", 0),
    ],
)
def test_what_is_held_is_told_by_a_check_and_removed_without_a_block(site, what, key, reason, before):
    site.hold()
    told = site("check", what)
    assert told.status == before
    assert f"{key}: {'told no names' if before else 'held'} until 20" in told.out
    assert f" by {reason}: " in told.out
    assert [one["reason"] for one in json.loads(site("check", what, "--json").out)["held"]] == [reason]
    gone = site("remove", what)
    assert (gone.status, gone.err) == (0, "")
    assert gone.out.startswith(f"no longer held: {key} {reason}: ")
    assert key not in [one["key"] for one in site.shown()["held"]]
    again = site("check", what)
    assert again.status == 0
    assert reason not in again.out
    assert site("remove", what).status == 1


def test_a_trap_is_told_by_a_check_of_its_recipient_and_removed_by_its_address(site):
    site.hold()
    told = site("check", "192.0.2.9", "--recipient", "Old@example.org")
    assert told.status == 0
    assert "trap:old@example.org: held until 20" in told.out
    gone = json.loads(site("remove", "Old@example.org", "--json").out)
    assert [one["key"] for one in gone["held"]] == ["trap:old@example.org"]
    assert "trap:" not in site("check", "192.0.2.9", "--recipient", "old@example.org").out


def test_what_stands_in_a_file_is_told_and_left(site):
    ended = site("remove", "203.0.113.0/24")
    assert (ended.status, ended.out) == (1, "")
    assert f"stands in {site.list}:2: take the line out" in ended.err


def test_what_is_nowhere_is_status_1(site):
    ended = site("remove", "192.0.2.99")
    assert (ended.status, ended.err) == (1, "192.0.2.99 is neither listed nor blocked\n")


def test_a_check_tells_the_first_entry_and_what_it_needs(site):
    ended = site("check", "192.0.2.7", "--sender", "<Ann@Partner.example>")
    assert ended.status == 0
    assert f"allow sender @partner.example because we know them ({site.list}:3)" in ended.out
    assert "only where SPF or DKIM" in ended.out
    assert "no entry" in site("check", "192.0.2.7").out


def test_a_check_of_whom_an_entry_denies_is_status_1(site):
    site("add", "192.0.2.0/24")
    ended = site("check", "192.0.2.7", "--json")
    told = json.loads(ended.out)
    assert (ended.status, told["entry"]["pattern"], told["block"]) == (1, "192.0.2.0/24", None)


def test_a_bad_file_is_status_2_with_its_line(site):
    site.list.write_text("deny adress 192.0.2.7\n")
    ended = site("show")
    assert ended.status == 2
    assert f"{site.list}:1: " in ended.err
