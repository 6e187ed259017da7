"""Real traffic through the whole pipeline with lists that are known: the report and an independent count agree.

The count knows nothing of the program's records, rules or policy: it takes from the traffic's own index who sent what,
from a separate reading of the links which domains stand in it, and adds points itself.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import pytest

from gatekeeper import app
from gatekeeper.checks.base import Tools
from gatekeeper.cli.dnsbl_report import known_lists
from gatekeeper.config import Configuration, read
from gatekeeper.dns.desk import Desk
from gatekeeper.dns.health import Health, State
from gatekeeper.gate import LiveGate, table_of
from gatekeeper.model import Address
from gatekeeper.pipeline import TABLE
from gatekeeper.policy import Policy
from gatekeeper.records.period import every
from gatekeeper.records.usefulness import Weighing, Worth
from gatekeeper.records.writer import Recorder
from gatekeeper.servers.checking import Told, check
from gatekeeper.store.base import RecordQuery
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.address import AddressError, parse_path
from tests.support.corpora import corpora
from tests.support.fake_resolver import FakeResolver

CONFIGURATION = """
hostname = "mx.gatekeeper.test"
[[checks.dnsbl.lists]]
zone = "third.test"
name = "THIRD"
score = 6.0
[[checks.dnsbl.lists]]
zone = "copy.test"
name = "COPY"
score = 5.0
[[checks.dnsbl.lists]]
zone = "welcome.test"
name = "WELCOME"
score = -3.0
[[checks.dnsbl.lists]]
zone = "dead.test"
name = "DEAD"
score = 9.0
[[checks.dnsbl.lists]]
zone = "coded.test"
name = "CODED"
[checks.dnsbl.lists.codes]
"127.0.0.2" = {name = "A", score = 4.0}
"127.0.0.4" = {name = "B", score = 11.0}
[[checks.uribl.lists]]
zone = "sender.test"
name = "SENDER"
score = 5.5
of = ["sender"]
[gate]
gather = "all"
"""
EVERY = 11
"""Every so-manieth message of the traffic is taken."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of the traffic."""

    path: Path
    ip: str | None
    helo: str | None
    sender: Address | None


def traffic() -> Iterator[Sent]:
    root = corpora("corpora")
    with (root / "index.jsonl").open() as lines:
        for n, line in enumerate(lines):
            if n % EVERY:
                continue
            entry = json.loads(line)
            yield Sent(
                root / entry["path"],
                _ipv4(entry.get("client_ip")),
                entry.get("helo") or None,
                _sender(entry.get("mail_from")),
            )


def _ipv4(text: str | None) -> str | None:
    try:
        return text if text and isinstance(ip_address(text), IPv4Address) else None
    except ValueError:
        return None


def _sender(text: str | None) -> Address | None:
    try:
        return parse_path(text) if text else None
    except AddressError:
        return None


# --- who is listed: by arithmetic on the address, so that the lists overlap as lists do


def in_third(ip: str) -> bool:
    return sum(map(int, ip.split("."))) % 3 == 0


def in_copy(ip: str) -> bool:
    return sum(map(int, ip.split("."))) % 6 == 0


def coded(ip: str) -> list[str]:
    last = int(ip.rsplit(".", 1)[1])
    return ["127.0.0.2"] * (last % 5 == 0) + ["127.0.0.4"] * (last % 7 == 0) + ["127.0.0.9"] * (last % 2)


def in_welcome(ip: str) -> bool:
    return int(ip.split(".")[2]) % 4 == 0


def sender_listed(domain: str) -> bool:
    return len(domain) % 4 == 0


class Lists(FakeResolver):
    """Answers as those lists would: of what cannot exist they list nothing. The one that is dead gives no answer."""

    async def ask(self, name: str, rtype: str) -> Any:
        reversed_ip = re.fullmatch(r"((?:\d+\.){4})(third|copy|coded|welcome|dead)\.test", name)
        records: list[str] = []
        if rtype == "A" and reversed_ip:
            ip = ".".join(reversed(reversed_ip[1].rstrip(".").split(".")))
            zone = reversed_ip[2]
            if zone == "dead":
                return self.timeout
            inner = ip.startswith("127.")
            listed = {"third": in_third, "copy": in_copy, "welcome": in_welcome}
            records = [] if inner else coded(ip) if zone == "coded" else ["127.0.0.2"] * listed[zone](ip)
        elif rtype == "A" and name.endswith(".sender.test") and not name.endswith(".invalid.sender.test"):
            records = ["127.0.1.2"] * sender_listed(name.removesuffix(".sender.test"))
        return type(self.timeout)(self.status(bool(records)), tuple(records), 300.0)

    @property
    def timeout(self) -> Any:
        from gatekeeper.dns.resolver import Answer, Status

        return Answer(Status.TIMEOUT, ttl=1.0)

    @staticmethod
    def status(found: bool) -> Any:
        from gatekeeper.dns.resolver import Status

        return Status.OK if found else Status.NXDOMAIN


# --- the program: the traffic through its pipeline, and its report


async def reported(mails: list[Sent]) -> tuple[Worth, list[dict[str, Any]]]:
    """The report, and the stored documents."""
    configuration: Configuration = read(CONFIGURATION, "f.toml")
    store = MemoryStore()
    now = [1_700_000_000.0]
    parts = app.assemble(configuration, store, clock=lambda: now[0])
    recorder = Recorder(store, lambda: now[0], configuration.records)
    policy = Policy(configuration.policy, [rule for each in configuration.checks for rule in each.rules()])
    # Its test point has been seen, so that it may excuse; the others vote untested.
    desk = Desk()
    desk.learn({"ipv4 welcome.test": Health(State.OK)})
    gate = LiveGate(
        table=table_of(TABLE, {type(each): each for each in configuration.checks}),
        policy=policy,
        tools=Tools(Lists({}), store, lambda: now[0], configuration.hostname, frozenset(), desk),
        recorder=recorder,
        settings=configuration.gate,
        edit_settings=configuration.message.edit,
    )
    to = Address("somebody", "gatekeeper.test")
    for mail in mails:
        now[0] += 120.0  # refusals of one network within a minute would share a record
        told = Told(
            ip_address(mail.ip) if mail.ip else None, None, None, mail.helo, sender=mail.sender, recipients=(to,)
        )
        await check(gate, mail.path.read_bytes(), told, server="check", now=now[0], keep=True)
    await recorder.flush()
    await parts.close()
    weighing = Weighing(policy, known_lists(configuration))
    async for record in every(store, RecordQuery(), portion=100):
        weighing.add(record)
    kept = await store.find_records(RecordQuery(limit=10_000))
    return weighing.worth(), [json.loads(one.document) for one in kept]


# --- the count: who is listed by arithmetic; points by addition, of what else was found as the records keep it


POINTS = {"THIRD": 6000, "COPY": 5000, "CODED_A": 4000, "CODED_B": 11000, "WELCOME": -3000, "SENDER": 5500}
TAG, REJECT, GOOD = 5000, 10000, 1000


def points_of_lists(mail: Sent) -> dict[str, dict[str, int]]:
    """For each list that has the sender: its rules and points."""
    found: dict[str, dict[str, int]] = {}
    if mail.ip is not None and ip_address(mail.ip).is_global:
        if in_third(mail.ip):
            found["THIRD"] = {"THIRD": POINTS["THIRD"]}
        if in_copy(mail.ip):
            found["COPY"] = {"COPY": POINTS["COPY"]}
        codes = coded(mail.ip)
        named = {"127.0.0.2": "CODED_A", "127.0.0.4": "CODED_B"}
        if rules := {named[code]: POINTS[named[code]] for code in codes if code in named}:
            found["CODED"] = rules
        if in_welcome(mail.ip):
            found["WELCOME"] = {"WELCOME": POINTS["WELCOME"]}
    domain = registered(mail.sender.domain) if mail.sender else ""
    if domain and sender_listed(domain):
        found["SENDER"] = {"SENDER": POINTS["SENDER"]}
    return found


@cache
def suffixes() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Plain rules, wildcards and exceptions of the published list, read here on its own."""
    text = next(corpora("dmarc").rglob("public_suffix_list.dat"), None)
    if text is None:
        pytest.skip("the public suffix list is not here")
    rules = [line.split()[0] for line in text.read_text().splitlines() if line.strip() and not line.startswith("//")]
    rules = [rule.encode("idna").decode() if not rule.isascii() else rule for rule in rules]
    return (
        frozenset(rule for rule in rules if rule[0] not in "*!"),
        frozenset(rule[2:] for rule in rules if rule.startswith("*.")),
        frozenset(rule[1:] for rule in rules if rule.startswith("!")),
    )


def registered(name: str) -> str:
    plain, wild, but = suffixes()
    labels = name.lower().split(".")
    for n in range(len(labels)):
        suffix, above = ".".join(labels[n:]), ".".join(labels[n + 1 :])
        if suffix in but:
            return suffix
        if suffix in plain or (above in wild and suffix not in but):
            return ".".join(labels[n - 1 :]) if n else ""
    return ""


def word(points: int, *, open_above: int = 0) -> str:
    """What becomes of that many points; `open_above`: points below zero that might still have come."""
    if points >= REJECT:
        return "reject" if points + open_above >= REJECT else "defer"
    return "tag" if points >= TAG else "accept"


def counted(mails: list[Sent], documents: list[dict[str, Any]]) -> dict[str, Any]:
    hits: Counter[str] = Counter()
    unique: Counter[str] = Counter()
    contrary: Counter[str] = Counter()
    unanswered: Counter[str] = Counter()
    changed: dict[str, Counter[str]] = {}
    overlap: Counter[tuple[str, str]] = Counter()
    by_time = sorted(documents, key=lambda document: document["time"])
    assert len(by_time) == len(mails)
    for mail, document in zip(mails, by_time, strict=True):
        listed = points_of_lists(mail)
        ours = re.compile(r"(?:DNSBL|URIBL)_(?!LEFT_OUT)")
        rest = sum(millis for rule, millis in document["decision"]["contributions"] if not ours.match(rule))
        total = rest + sum(sum(rules.values()) for rules in listed.values())
        if mail.ip is not None and ip_address(mail.ip).is_global:
            unanswered["DEAD"] += 1
        gaps = [rule for one in document.get("missing", []) for rule in one["rules"]]
        assert not [
            rule for rule in gaps if rule != "DNSBL_DEAD" and not rule.startswith(("RDNS", "SPF", "DKIM", "DMARC"))
        ]
        for name, rules in listed.items():
            hits[name] += 1
            kin = [other for other in listed if other != name and (other == "WELCOME") == (name == "WELCOME")]
            unique[name] += not kin
            for other in listed:
                if other != name:
                    overlap[name, other] += 1
            without = total - sum(rules.values())
            if word(total) != word(without):
                changed.setdefault(name, Counter())[f"{word(total)}>{word(without)}"] += 1
            if name == "WELCOME":
                contrary[name] += without >= TAG
            else:
                contrary[name] += without <= GOOD
    return {"hits": hits, "unique": unique, "contrary": contrary, "unanswered": unanswered, "changed": changed,
            "overlap": overlap}  # fmt: skip


@pytest.mark.slow
async def test_the_report_agrees_with_an_independent_count_of_real_traffic():
    mails = list(traffic())
    worth, documents = await reported(mails)
    count = counted(mails, documents)
    assert worth.mails == len(mails) > 400
    short = {one.name.removeprefix("DNSBL_").removeprefix("URIBL_"): one for one in worth.lists}
    assert set(short) == {"THIRD", "COPY", "CODED", "WELCOME", "DEAD", "SENDER"}
    for name, one in short.items():
        assert one.hits == count["hits"][name], name
        assert one.unique == count["unique"][name], name
        assert one.contrary == count["contrary"][name], name
        assert one.unanswered == count["unanswered"][name], name
        assert one.changed == count["changed"].get(name, {}), name
    plain = {(a.split("_", 1)[1], b.split("_", 1)[1]): mails_of_both for (a, b), mails_of_both in worth.overlap.items()}
    assert plain == dict(count["overlap"])
    # A count of nothing would agree with anything.
    assert all(short[name].hits > 20 for name in short if name != "DEAD")
    # Each hit was asked for, so that each list has times; how long it took is another's business.
    assert all(None not in (short[name].p50, short[name].p95) for name in short if name != "DEAD")
    assert sum(one.changes for one in worth.lists) > 100
