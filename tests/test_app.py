"""How a process is put together, how it ends, and that `check_message` judges as the live path does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import smtplib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from prometheus_client import CollectorRegistry, Gauge

from gatekeeper import app, copies, metrics
from gatekeeper.config import configuration as config
from gatekeeper.mailauth.dkim import sign
from gatekeeper.model import Action, Address
from gatekeeper.pipeline import CHECKS
from gatekeeper.servers.overload import Gauges, Overload
from gatekeeper.servers.overload import Settings as OverloadSettings
from gatekeeper.store import opening
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.headers import MOST_FIELDS
from gatekeeper.wire.process import EXIT_CONFIGURATION, ProcessStart, Role
from tests.servers.test_http_check import result
from tests.support.dkim_signer import record as key_record
from tests.support.dns_server import DnsServer, Fault
from tests.support.worker import worker

GOOD, LISTED, WORST, FORGER = "192.0.2.10", "192.0.2.66", "192.0.2.67", "192.0.2.68"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_TEXT = key_record(KEY).decode()
ZONE = {
    ("good.example", "TXT"): [f'"v=spf1 ip4:{GOOD} -all"'],
    ("mail.good.example", "A"): [GOOD],
    ("10.2.0.192.in-addr.arpa", "PTR"): ["mail.good.example."],
    ("_dmarc.good.example", "TXT"): ['"v=DMARC1; p=reject"'],
    ("sel._domainkey.good.example", "TXT"): [" ".join(f'"{_TEXT[i : i + 200]}"' for i in range(0, len(_TEXT), 200))],
    ("bank.example", "TXT"): ['"v=spf1 -all"'],
    ("_dmarc.bank.example", "TXT"): ['"v=DMARC1; p=reject"'],
    ("elsewhere.example", "A"): ["198.51.100.30"],
    ("66.2.0.192.bl.example", "A"): ["127.0.0.2"],
    ("67.2.0.192.bl.example", "A"): ["127.0.0.2"],
    ("67.2.0.192.bl2.example", "A"): ["127.0.0.3"],
}
LISTS = """
[[checks.dnsbl.lists]]
zone = "bl.example"
name = "BL"
score = 6.0
[[checks.dnsbl.lists]]
zone = "bl2.example"
name = "BL2"
score = 6.0
[policy.scores]
DMARC_PASS = -4.0
"""


def message(author: str, *, extra: str = "") -> bytes:
    return (
        f"{extra}Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nFrom: <{author}>\r\nTo: <one@example.org>\r\n"
        f"Subject: x\r\nMessage-ID: <x@good.example>\r\n\r\ntext\r\n"
    ).encode()


def signed(content: bytes) -> bytes:
    pem = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return sign(content, domain="good.example", selector="sel", private_key=pem) + content


# --- the same verdict as the live path -------------------------------------------------------------------------------

CASES: list[Any] = [
    # client, helo, sender, recipients, message, DNS that fails, action, answered at
    pytest.param(
        *(GOOD, "mail.good.example", "a@good.example", ["one@example.org"], signed(message("a@good.example"))),
        *({}, "accept", "dot"),
        id="clean and signed",
    ),
    pytest.param(
        *(LISTED, "mta.elsewhere.example", "a@elsewhere.example", ["one@example.org"]),
        *(message("a@elsewhere.example"), {}, "tag", "dot"),
        id="tagged",
    ),
    pytest.param(
        *(WORST, "pc", "a@bank.example", ["one@example.org", "two@example.org"], message("a@bank.example")),
        *({}, "reject", "RCPT"),
        id="rejected at RCPT",
    ),
    pytest.param(
        *(FORGER, "mta.elsewhere.example", "a@elsewhere.example", ["one@example.org"], message("ceo@bank.example")),
        *({}, "reject", "dot"),
        id="rejected at end of data",
    ),
    pytest.param(
        *(LISTED, "mta.elsewhere.example", "", ["one@example.org"], b"Subject: x\r\nSubject: y\r\n\r\n\r\n"),
        *({}, "tag", "dot"),
        id="null sender, sloppy header",
    ),
    pytest.param(
        *(WORST, "pc", "a@bank.example", ["postmaster@example.org"], message("a@good.example", extra="X: y\r\n")),
        *({}, "reject", "dot"),
        id="postmaster is exempt from lists, not from forgery",
    ),
    pytest.param(
        *(GOOD, "mail.good.example", "a@good.example", ["one@example.org"], message("a@good.example")),
        *({"10.2.0.192.bl.example": Fault.SERVFAIL, "good.example": Fault.SERVFAIL}, "accept", "dot"),
        id="missing evidence does not refuse",
    ),
    pytest.param(
        *(WORST, "mta.elsewhere.example", "a@elsewhere.example", ["one@example.org"]),
        *(signed(message("a@good.example")), {}, "tag", "dot"),
        id="kept back at RCPT, and saved by the author's signature",
    ),
    pytest.param(
        *(WORST, "mta.elsewhere.example", "a@elsewhere.example", ["one@example.org"]),
        *(signed(message("a@good.example")), {"sel._domainkey.good.example": Fault.SERVFAIL}, "defer", "dot"),
        id="put off, since the signature that could save it cannot be verified now",
    ),
    pytest.param(
        *(WORST, "mta.elsewhere.example", "a@elsewhere.example", ["one@example.org"]),
        *(message("a@good.example"), {}, "reject", "dot"),
        id="kept back at RCPT, and nothing has saved it",
    ),
]


@pytest.mark.parametrize(("client", "helo", "sender", "to", "content", "faults", "action", "answered"), CASES)
async def test_check_gives_the_verdict_of_the_live_path(
    tmp_path: Path,
    client: str,
    helo: str,
    sender: str,
    to: list[str],
    content: bytes,
    faults: dict[str, Fault],
    action: str,
    answered: str,
) -> None:
    async with worker(tmp_path, zone=ZONE, settings=LISTS) as w:
        w.dns.faults.update(faults)
        async with w.client(client, helo=helo) as smtp:
            assert (await smtp(f"MAIL FROM:<{sender}>"))[:3] == "250"
            answers = [await smtp(f"RCPT TO:<{address}>") for address in to]
            if answered == "dot":
                assert (await smtp("DATA"))[:3] == "354"
                answers = [await smtp.message(content)]
            await smtp("QUIT")
        checked = await app.check_message(
            w.configuration,
            content,
            ip=ip_address(client),
            helo=helo,
            sender=Address(*sender.split("@")) if sender else Address("", ""),
            recipients=[Address(*address.split("@")) for address in to],
        )
        live = (await w.records())[-1]
        assert live.decision is not None or action == "reject"
        decision = live.decision or live.recipients[0].decision
        assert decision is not None
        assert checked.verdict.action.word == live.action == action
        assert checked.verdict.millis == decision.millis
        assert {c.rule for c in checked.verdict.contributions} == {c.rule for c in decision.contributions}
        assert checked.verdict.missing == decision.missing
        assert (checked.verdict.decided_by, checked.verdict.incomplete) == (decision.decided_by, decision.incomplete)
        told = checked.reply or checked.record.reply
        assert {answer[:3] for answer in answers} == {str(told.code)}
        if checked.reply is not None:  # the same words but for the record's id
            assert answers[0].split(" (id ")[0] == str(checked.reply).split(" (id ")[0]


async def test_mail_that_is_refused_before_it_came_is_counted_once(tmp_path: Path) -> None:
    """Of three mails one had two recipients; the third came and was refused for what it says."""

    def counted(name: str, action: str) -> float:
        return metrics.REGISTRY.get_sample_value(f"gatekeeper_{name}_total", {"action": action}) or 0.0

    before = counted("early_refusals", "reject"), counted("messages", "reject")
    async with worker(tmp_path, zone=ZONE, settings=LISTS) as w:
        for to in (["one@example.org", "two@example.org"], ["one@example.org"]):
            async with w.client(WORST, helo="pc") as smtp:
                await smtp("MAIL FROM:<a@bank.example>")
                assert {(await smtp(f"RCPT TO:<{address}>"))[:3] for address in to} == {"550"}
                await smtp("QUIT")
        async with w.client(FORGER, helo="mta.elsewhere.example") as smtp:
            await smtp("MAIL FROM:<a@elsewhere.example>")
            await smtp("RCPT TO:<one@example.org>")
            await smtp("DATA")
            assert (await smtp.message(message("ceo@bank.example")))[:3] == "550"
            await smtp("QUIT")
    assert (counted("early_refusals", "reject"), counted("messages", "reject")) == (before[0] + 2, before[1] + 1)


async def test_check_knows_which_domains_are_ours_and_what_needs_smtputf8(tmp_path: Path) -> None:
    async with worker(tmp_path, zone=ZONE) as w:
        told = {"ip": ip_address(GOOD), "sender": Address("a", "good.example"), "helo": "mail.good.example"}
        foreign = await app.check_message(w.configuration, b"", recipients=[Address("x", "elsewhere.example")], **told)  # type: ignore[arg-type]  # each goes to its own
        assert (foreign.verdict.action, foreign.reply and foreign.reply.code) == (Action.REJECT, 550)
        async with w.client(GOOD) as smtp:
            await smtp("MAIL FROM:<a@good.example>")
            answer = await smtp("RCPT TO:<x@elsewhere.example>")
        assert answer.split(" (id ")[0] == str(foreign.reply).split(" (id ")[0]
        wide = await app.check_message(
            w.configuration, "From: jürgen\r\n\r\n".encode(), sender=Address("jürgen", "good.example")
        )
        assert "HEADER_EIGHT_BIT" not in [c.rule for c in wide.verdict.contributions]


# --- DNS that does not answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [Fault.SILENCE, Fault.SERVFAIL, Fault.REFUSED, Fault.NOTIMP, Fault.GARBAGE, Fault.WRONG_ID, Fault.WRONG_OWNER],
)
async def test_mail_flows_whatever_dns_says_and_the_verdict_says_what_was_missing(tmp_path: Path, fault: Fault) -> None:
    async with worker(tmp_path, zone=ZONE, settings=LISTS, dns_timeout="40ms") as w:
        w.dns.fault = fault
        async with w.client(WORST, helo="mail.bank.example") as smtp:
            answer = await smtp.mail(signed(message("ceo@bank.example")), sender="a@bank.example")
            assert answer[:3] == "250"
        record = await w.record()
        assert record.action == "accept"
        assert record.decision is not None
        assert {"dnsbl:BL", "dnsbl:BL2", "reverse_dns", "spf", "dkim", "dmarc"} <= set(record.decision.missing)
        assert record.decision.incomplete


async def test_dns_that_fails_makes_no_refusal_permanent_unless_it_would_stand_without(tmp_path: Path) -> None:
    scores = LISTS + "RDNS_CONFIRMED = -3.0\n"
    async with worker(tmp_path, zone=ZONE, settings=scores) as w:
        w.dns.faults.update({"67.2.0.192.in-addr.arpa": Fault.SERVFAIL})
        async with w.client(WORST, helo="mail.bank.example") as smtp:
            for author, answer in (("unheard.example", "451 4.7.1"), ("bank.example", "550 5.7.1")):
                await smtp("MAIL FROM:<a@elsewhere.example>")
                await smtp("RCPT TO:<one@example.org>")
                await smtp("DATA")
                # 12 on lists, but a name in DNS may be worth -3; what DMARC decides stands whatever the name is
                assert (await smtp.message(message(f"a@{author}")))[:9] == answer


# --- messages at their limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"From: <a@unheard.example>\r\n\r\n" + b"x\r\n" * 1_000_000, "DATE_MISSING"),
        (b"From: <a@unheard.example>\r\n" + b"X-Field: value\r\n" * (MOST_FIELDS - 1) + b"\r\ntext\r\n", "HEADER_MANY"),
        (b"From: <a@unheard.example>\r\nSubject: " + b"x" * 900_000 + b"\r\n\r\n", "DATE_MISSING"),
        (b"From: " + b"(" * 100_000 + b"<a@unheard.example>\r\n\r\n", "FROM_AMBIGUOUS"),
        (b"", "FROM_MISSING"),
    ],
    ids=["a million lines", "as many fields as are read", "an endless line", "nested comments", "nothing at all"],
)
async def test_messages_at_their_limits_are_judged_by_every_check(tmp_path: Path, content: bytes, rule: str) -> None:
    async with worker(tmp_path, zone=ZONE) as w:
        async with w.client(GOOD, helo="mail.good.example") as smtp:
            assert (await smtp.mail(content))[:3] == "250"
        record = await w.record()
        assert rule in {finding.rule for finding in record.findings}
        assert record.decision is not None
        assert (record.decision.missing, record.decision.not_run) == ((), ())


# --- putting together ------------------------------------------------------------------------------------------------


async def test_every_check_that_is_switched_on_is_in_the_gate_and_its_rules_in_the_policy(tmp_path: Path) -> None:
    settings = '[checks.spf]\nenabled = false\n[checks.clamav]\nclamd = "127.0.0.1:3310"\n'
    async with worker(tmp_path, settings=settings) as w:
        names = {check.name for check in CHECKS} - {"spf"}
        assert set(w.parts.gate._rules_of) == names
        for rules in w.parts.gate._rules_of.values():
            assert set(rules) <= set(w.parts.policy.rules)
        assert "SPF_FAIL" not in w.parts.policy.rules


async def test_close_brings_what_is_known_to_the_store(tmp_path: Path) -> None:
    store = MemoryStore()
    async with worker(tmp_path, zone=ZONE, store=store) as w, w.client(GOOD, helo="mail.good.example") as smtp:
        await smtp.mail(message("a@good.example"), sender="a@good.example")
    [history] = await store.history([f"ip:{GOOD}"])
    assert history.accepted == 1


PATIENCE = 20.0
"""Seconds until something that does not come has failed a test."""


# --- a process -------------------------------------------------------------------------------------------------------


class Process:
    """What the supervisor holds of one process: its report, its lifeline, its sockets."""

    def __init__(self, directory: Path, text: str, *, role: Role = Role.WORKER) -> None:
        self.file = directory / "snapshot.toml"
        self.file.write_text(text)
        self.report, ready = os.pipe()
        lifeline, self.lifeline = os.pipe()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        name = "smtp.listen" if role is Role.WORKER else "http.listen"
        self.start = ProcessStart(
            role=role,
            config_path="/etc/gatekeeper/gatekeeper.toml",
            snapshot=str(self.file),
            slot="worker0",
            workers=1,
            ready_fd=ready,
            lifeline_fd=lifeline,
            metrics_directory=str(directory),
            drain=5.0,
            sockets={name: (os.dup(self.listener.fileno()),)},
        )

    def heard(self) -> str:
        """Its report; "" when none comes."""
        if not select.select([self.report], [], [], PATIENCE)[0]:
            return ""
        return os.read(self.report, 65536).decode()

    def close(self) -> None:
        for number in (self.report, self.lifeline, self.start.lifeline_fd):
            with contextlib.suppress(OSError):
                os.close(number)
        self.listener.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Any]:
    """Makes a `Process`; logging is afterwards as it was."""
    made: list[Process] = []
    logger = logging.getLogger("gatekeeper")
    before = list(logging.getLogger().handlers), logger.level

    def make(text: str, **options: Any) -> Process:
        made.append(Process(tmp_path, text, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    logging.getLogger().handlers[:], level = before
    logger.setLevel(level)
    logging.captureWarnings(capture=False)


def smtp(directory: Path, more: str = "") -> str:
    return (
        'hostname = "mx.example.org"\nrelay_domains = ["example.org"]\n[log]\ndestination = "stderr"\n'
        f'[servers.smtp]\nnext_hop = "smtp://127.0.0.1:9"\n[store]\nurl = "sqlite:{directory}/state.db"\n'
        f'[dns]\nnameservers = ["127.0.0.1:9"]\ntimeout = "10ms"\ntries = 1\n{more}'
    )


def test_a_configuration_that_is_wrong_is_reported_in_the_operators_words(process: Any, tmp_path: Path) -> None:
    one = process(smtp(tmp_path, "[polcy]\ntag = 1.0\n"))
    assert app.run_process(one.start) == EXIT_CONFIGURATION
    told = one.heard()
    assert told.startswith("failed: /etc/gatekeeper/gatekeeper.toml:")  # its own name, not the copy's
    assert "polcy" in told
    assert "policy" in told
    assert told.count("\n") == 1


def test_no_server_to_take_mail_is_said(process: Any, tmp_path: Path) -> None:
    one = process(f'hostname = "mx.example.org"\n[store]\nurl = "sqlite:{tmp_path}/state.db"\n')
    assert app.run_process(one.start) == EXIT_CONFIGURATION
    assert "[servers.smtp]" in one.heard()


def test_a_process_that_starts_later_does_not_mind_edits(process: Any, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("")
    one = process(
        f'[store]\nurl = "sqlite:{tmp_path}/state.db"\n[checks.rules]\nshipped = false\npaths = ["{rules}"]\n'
    )
    with copies.beside(one.file, making=True):
        config.load(str(one.file))
    rules.write_text("[[half of an edit")
    assert app.run_process(one.start) == EXIT_CONFIGURATION
    assert "[servers.smtp]" in one.heard()  # it has come as far as that


def _directory(path: Path) -> None:
    path.mkdir()


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


@pytest.mark.parametrize("make", [_directory, _garbage])
def test_a_store_that_cannot_be_used_is_reported(process: Any, tmp_path: Path, make: Any) -> None:
    make(tmp_path / "state.db")
    one = process(smtp(tmp_path))
    assert app.run_process(one.start) == EXIT_CONFIGURATION
    told = one.heard()
    assert told.startswith("failed: ")
    assert f"{tmp_path}/state.db" in told


@pytest.mark.parametrize(
    ("more", "mend"),
    [
        ('[servers.smtp.tls]\ncertificate = "/nowhere/cert.pem"\n', "/nowhere/cert.pem is not there; put it there"),
        ('[nexthop]\ntls = "verify"\ntls_ca_file = "/nowhere/ca.pem"\n', "/nowhere/ca.pem cannot be read"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_reported(process: Any, tmp_path: Path, more: str, mend: str) -> None:
    one = process(smtp(tmp_path, more))
    assert app.run_process(one.start) == EXIT_CONFIGURATION
    told = one.heard()
    assert told.startswith("failed: ")
    assert mend in told


def test_a_worker_serves_until_its_parent_is_gone(process: Any, tmp_path: Path) -> None:
    one = process(smtp(tmp_path))
    said: list[Any] = []

    def use() -> None:
        said.append(one.heard())
        with smtplib.SMTP("127.0.0.1", one.port, timeout=PATIENCE) as client:
            client.ehlo("client.example")
            client.mail("a@example.net")
            said.extend((client.rcpt("x@example.org"), client.rcpt("x@elsewhere.example")))
        os.close(one.lifeline)

    user = threading.Thread(target=use, daemon=True)
    user.start()
    try:
        assert app.run_process(one.start) == 0
    finally:
        user.join(PATIENCE)
    ready, ours, foreign = said
    assert ready == "ready\n"
    assert not os.get_blocking(one.start.ready_fd)  # nor does it wait for somebody to read its signs of life
    assert ours[0] == 451  # the next hop is not there
    assert foreign[0] == 550


def test_a_worker_says_nothing_of_its_parts_before_it_is_ready_and_then_what_it_knows(
    process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = process(smtp(tmp_path))
    parts = metrics.Children(Gauge("ready", "Parts.", ["part"], registry=CollectorRegistry()))
    monkeypatch.setattr(metrics, "READY", parts)
    seen: list[dict[str, float]] = []

    def look() -> None:
        seen.append({each.labels["part"]: each.value for family in parts.metric.collect() for each in family.samples})

    health, ready = app._health, app._ready

    async def before(*arguments: Any) -> Any:
        look()
        return await health(*arguments)

    def when(start: Any) -> None:
        look()
        ready(start)
        os.close(one.lifeline)

    monkeypatch.setattr(app, "_health", before)
    monkeypatch.setattr(app, "_ready", when)
    assert app.run_process(one.start) == 0
    assert seen == [{}, {"store": 1.0, "next_hop": 0.0, "relay_probe": 1.0, "room": 1.0}]


def test_a_controller_that_does_all_the_work_says_nothing_of_the_store_before_it_has_it(
    process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = process(smtp(tmp_path, '[servers.http]\nlisten = ["127.0.0.1:8025"]\n'), role=Role.CONTROLLER)
    parts = metrics.Children(Gauge("ready", "Parts.", ["part"], registry=CollectorRegistry()))
    monkeypatch.setattr(metrics, "READY", parts)
    seen: list[dict[str, float]] = []

    def look() -> None:
        seen.append({each.labels["part"]: each.value for family in parts.metric.collect() for each in family.samples})

    opened, ready = opening.open_store, app._ready

    def before(*arguments: Any, **more: Any) -> Any:
        look()
        return opened(*arguments, **more)

    def when(start: Any) -> None:
        look()
        ready(start)
        os.close(one.lifeline)

    monkeypatch.setattr(app, "open_store", before)
    monkeypatch.setattr(app, "_ready", when)
    assert app.run_process(replace(one.start, workers=0)) == 0
    assert seen == [{}, {"store": 1.0}]


def test_a_worker_without_room_puts_off_its_very_first_client(process: Any, tmp_path: Path) -> None:
    one = process(smtp(tmp_path, '[servers.smtp.overload]\nmemory = "1MiB"\n'))
    said: list[bytes] = []

    def use() -> None:
        with socket.create_connection(("127.0.0.1", one.port), timeout=PATIENCE) as client:
            said.append(client.recv(512))
        os.close(one.lifeline)

    user = threading.Thread(target=use, daemon=True)
    user.start()  # it waits to be accepted when the worker begins
    try:
        assert app.run_process(one.start) == 0
    finally:
        user.join(PATIENCE)
    assert said[0].startswith(b"421 4.3.2 "), said


def test_a_controller_serves_http_until_its_parent_is_gone(process: Any, tmp_path: Path) -> None:
    one = process(smtp(tmp_path, '[servers.http]\nlisten = ["127.0.0.1:8025"]\n'), role=Role.CONTROLLER)
    said: list[bytes] = []

    def use() -> None:
        said.append(one.heard().encode())
        with socket.create_connection(("127.0.0.1", one.port), timeout=PATIENCE) as client:
            client.sendall(b"GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n")
            said.append(client.recv(65536))
        os.close(one.lifeline)

    user = threading.Thread(target=use, daemon=True)
    user.start()
    try:
        assert app.run_process(one.start) == 0
    finally:
        user.join(PATIENCE)
    assert said[0] == b"ready\n"
    assert b" 200 " in said[1].split(b"\r\n")[0]


async def test_how_late_the_event_loop_is_is_measured_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "LOOK_EVERY", 0.0)
    seen: list[float] = []
    thrice = asyncio.Event()

    def observe(late: float) -> None:
        seen.append(late)
        if len(seen) == 3:
            thrice.set()

    monkeypatch.setattr(metrics.EVENT_LOOP_LATE, "observe", observe)
    measuring = asyncio.create_task(app._time_the_loop())
    await thrice.wait()
    measuring.cancel()
    assert min(seen) >= 0.0


async def test_there_is_no_room_while_one_of_the_servers_puts_off_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Overload(OverloadSettings()), Overload(OverloadSettings())
    told: asyncio.Queue[bool] = asyncio.Queue()
    monkeypatch.setattr(app, "WATCH_SECONDS", 0.0)
    monkeypatch.setattr(metrics.READY["room"], "set", told.put_nowait)
    watching = asyncio.create_task(app._keep_watch(None, None, [one, other], asyncio.Event()))
    assert await told.get()
    other.take(Gauges(memory=2.0), now=0.0)
    while await told.get():
        pass
    watching.cancel()


class Awaited(logging.Handler):
    """Set when the log has that event."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.seen = name, threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == self.name:
            self.seen.set()


def test_a_controller_that_is_told_to_end_answers_the_check_under_way(
    process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, stopping = threading.Event(), threading.Event(), Awaited("stopping")

    async def judged(*_: object, **__: object) -> object:
        began.set()
        await asyncio.to_thread(go_on.wait, PATIENCE)
        return result()

    monkeypatch.setattr(app, "check", judged)
    logging.getLogger("gatekeeper").addHandler(stopping)
    one = process(smtp(tmp_path, '[servers.http]\nlisten = ["127.0.0.1:8025"]\n'), role=Role.CONTROLLER)
    said: list[bytes] = []

    def use() -> None:
        said.append(one.heard().encode())
        with socket.create_connection(("127.0.0.1", one.port), timeout=PATIENCE) as client:
            client.sendall(b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nA: b\r\n")
            began.wait(PATIENCE)
            os.close(one.lifeline)
            stopping.seen.wait(PATIENCE)
            go_on.set()
            said.append(client.recv(65536))

    user = threading.Thread(target=use, daemon=True)
    user.start()
    try:
        assert app.run_process(one.start) == 0
    finally:
        user.join(PATIENCE)
        logging.getLogger("gatekeeper").removeHandler(stopping)
    assert said[1].startswith(b"HTTP/1.1 200 ")


def test_an_open_relay_behind_ends_the_process(process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatekeeper.nexthop import NextHop, RelayAnswer

    async def answers(self: NextHop, domain: str) -> RelayAnswer:
        return RelayAnswer.OPEN

    monkeypatch.setattr(NextHop, "relay_probe", answers)
    one = process(smtp(tmp_path).replace('relay_domains = ["example.org"]\n', ""))
    assert app.run_process(one.start) == EXIT_CONFIGURATION
    assert "reject_unauth_destination" in one.heard()


def test_limits_on_the_next_hop_are_shared_by_the_workers(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(smtp(tmp_path, "[nexthop]\nmax_connections = 10\n"))
    found = config.load(str(tmp_path / "c.toml"))
    next_hop = app._next_hop(found, workers=4)
    assert next_hop is not None
    assert app._next_hop(replace(found, servers=replace(found.servers, smtp=None)), workers=4) is None
    assert metrics.PARTS


def test_a_signing_key_that_cannot_be_used_stops_the_start_with_its_mend(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(b"x")
    path.chmod(0o644)
    keys = f'[[mailauth.signing.keys]]\ndomain = "example.org"\nselector = "s"\nfile = "{path}"\n'
    with pytest.raises(app.Unfit, match="open to everybody on this machine: chmod 0640"):
        app._signer(config.read(keys, "g.toml"))
    assert app._signer(config.read("", "g.toml")) is None


async def test_a_welcome_list_excuses_a_checked_message_as_it_does_in_life():
    zone = {("2.0.0.127.wl.test", "A"): ["127.0.0.2"], ("5.2.0.192.wl.test", "A"): ["127.0.0.2"]}
    async with DnsServer(zone) as dns:
        text = f'[dns]\nnameservers = ["{dns.address}"]\n'
        text += '[[checks.dnsbl.lists]]\nzone = "wl.test"\nname = "WL"\nscore = -1.0\nipv6 = false\n'
        raw = b"From: a@example.net\r\n\r\n"
        checked = await app.check_message(config.read(text, "f"), raw, ip=ip_address("192.0.2.5"))
        assert "DNSBL_WL" in {one.rule for one in checked.record.contributions}
