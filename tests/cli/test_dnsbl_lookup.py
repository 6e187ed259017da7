import asyncio
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.dns.health import Health, State, to_note
from gatekeeper.store.base import Note
from gatekeeper.store.opening import Settings, open_store
from gatekeeper.watch import STATES, host
from tests.cli.test_dnsbl_test import configured
from tests.support.closed import closed_to_us
from tests.support.command_line import Ended, gatekeeper
from tests.support.dns_server import DnsServer, Fault
from tests.support.served import served

ZONE = {("1.2.0.192.bl.test", "A"): ["127.0.0.4"], ("1.2.0.192.odd.test", "A"): ["203.0.113.7"]}


def looked_up(
    tmp_path: Path,
    subject: str = "192.0.2.1",
    *,
    fault: Fault | None = None,
    zones: tuple[str, ...] = ("bl.test", "odd.test", "none.test"),
    more: str = "",
) -> tuple[Ended, Any]:
    with served(DnsServer(ZONE)) as server:
        if fault:
            server.under["bl.test"] = fault
        file = configured(tmp_path, server, *zones)
        Path(file).write_text(Path(file).read_text() + more)
        shown = gatekeeper("dnsbl", "lookup", subject, "-c", file)
        read = gatekeeper("dnsbl", "lookup", subject, "--json", "-c", file)
        assert shown.status == read.status
        return shown, json.loads(read.out) if read.out else None


def test_codes_ttl_control_and_health_are_shown(tmp_path):
    shown, read = looked_up(tmp_path)
    assert shown.status == 1
    assert read[0] == {
        "list": "DNSBL_L0",
        "zone": "bl.test",
        "listed": True,
        "answer": "127.0.0.4",
        "codes": "listed",
        "ttl": 300,
        "control": "not listed",
        "health": "untested",
    }
    assert (read[1]["listed"], read[1]["codes"][:10]) == (False, "no listing")
    assert (read[2]["listed"], read[2]["answer"]) == (False, "not listed")
    assert "127.0.0.4" in shown.out


def test_nobody_is_listed_by_a_list_that_lists_everybody(tmp_path):
    shown, read = looked_up(tmp_path, fault=Fault.WILDCARD)
    assert (shown.status, read[0]["listed"], read[0]["control"]) == (0, False, "127.0.0.2")


def test_the_health_is_that_of_the_gatekeeper_that_runs(tmp_path):
    path = tmp_path / "state.db"

    async def note() -> None:
        store = open_store(Settings(url=f"sqlite:{path}"))
        text = to_note(Health(State.DEGRADED))
        await store.put_notes([Note(STATES, f"{host()} ipv4 bl.test", text, time.time() + 60)])
        await store.close()

    asyncio.run(note())
    _, read = looked_up(tmp_path, more=f'[store]\nurl = "sqlite:{path}"\n')
    assert [each["health"] for each in read] == ["degraded", "untested", "untested"]


def test_the_health_is_not_known_to_who_may_not_look_into_the_store(tmp_path, monkeypatch):
    closed_to_us(tmp_path / "closed", monkeypatch)
    _, read = looked_up(tmp_path, more=f'[store]\nurl = "sqlite:{tmp_path}/closed/state.db"\n')
    assert [each["health"] for each in read] == ["untested", "untested", "untested"]


NAMES = """
[[checks.uribl.lists]]
zone = "dbl.test"
name = "DBL"
score = 1.0
[[checks.uribl.lists]]
zone = "whole.test"
name = "WHOLE"
score = 1.0
ask = "both"
addresses = true
ipv6 = false
[[checks.uribl.lists]]
zone = "hbl.test"
name = "HBL"
score = 1.0
hash = "md5"
"""


def test_lists_of_domains_are_asked_about_what_they_want_of_a_name(tmp_path):
    zone = {("www.evil.com.whole.test", "A"): ["127.0.0.2"]}
    with served(DnsServer(zone)) as server:
        file = configured(tmp_path, server, "bl.test")
        Path(file).write_text(Path(file).read_text() + NAMES)
        ended = gatekeeper("dnsbl", "lookup", "WWW.evil.com.", "--json", "-c", file)
        asked = [one.name for one in server.asked]
    read = [(each["list"], each["listed"]) for each in json.loads(ended.out)]
    assert read == [("URIBL_DBL", False), ("URIBL_WHOLE", False), ("URIBL_WHOLE", True)]
    assert ended.status == 1
    assert {"evil.com.dbl.test", "evil.com.whole.test", "www.evil.com.whole.test"} <= set(asked)
    assert sum(".invalid." in name for name in asked) == 3


def test_hash_lists_are_asked_about_a_mail_address(tmp_path):
    digest = hashlib.md5(b"bob@example.com", usedforsecurity=False).hexdigest()
    with served(DnsServer({(f"{digest}.hbl.test", "A"): ["127.0.0.2"]})) as server:
        file = configured(tmp_path, server, "bl.test")
        Path(file).write_text(Path(file).read_text() + NAMES)
        ended = gatekeeper("dnsbl", "lookup", "Bob+x@example.com", "--json", "-c", file)
        assert [(each["list"], each["listed"]) for each in json.loads(ended.out)] == [("URIBL_HBL", True)]


def test_lists_of_names_that_know_addresses_are_asked_about_them(tmp_path):
    _, read = looked_up(tmp_path, more=NAMES)
    assert [each["list"] for each in read] == ["DNSBL_L0", "DNSBL_L1", "DNSBL_L2", "URIBL_WHOLE"]


@pytest.mark.slow
def test_what_no_list_is_asked_about_is_a_mistake(tmp_path):
    assert looked_up(tmp_path, "example.com")[0].status == 2
    assert looked_up(tmp_path, "not a name")[0].status == 2
    assert looked_up(tmp_path, "2001:db8::1")[0].status == 2
