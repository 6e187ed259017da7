"""RFC 2505 (BCP 30), paragraph by paragraph, each against the whole server: what an MTA is asked to do against spam."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.log import line
from gatekeeper.wire.list_lines import BadLine, parse_line
from tests.support.dns_server import Fault
from tests.support.next_hop import FakeNextHop
from tests.support.smtp_client import LETTER, SmtpClient
from tests.support.worker import Worker, worker

SPAMMER, OTHER = "198.51.100.77", "192.0.2.10"
NAMES = {
    ("77.100.51.198.in-addr.arpa", "PTR"): ["mail.spammer.example."],
    ("mail.spammer.example", "A"): [SPAMMER],
}
REJECTING = "[policy.scores]\nDKIM_NONE = 20.0\n"
"""Whatever is not signed is refused, once it has been seen."""


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path, zone=NAMES) as one:
        yield one


async def rcpt(w: Worker, address: str, sender: str = "s@example.net", to: str = "one@example.org") -> str:
    """The answer to the recipient."""
    async with w.client(address) as client:
        assert (await client(f"MAIL FROM:<{sender}>"))[:3] == "250"
        return await client(f"RCPT TO:<{to}>")


def listed(directory: Path, *lines: str) -> str:
    """The settings that name a file with these lines."""
    file = directory / "local.list"
    file.write_text("".join(f"{line}\n" for line in lines))
    return f'[checks.operator_lists]\nfiles = ["{file}"]\n'


def asked(hop: FakeNextHop) -> int:
    return hop.verbs.count("RCPT")


# --- 1: principles ----------------------------------------------------------------------------------------------------


async def test_1_5_spam_is_refused_inside_the_dialogue(tmp_path: Path) -> None:
    async with worker(tmp_path, settings=REJECTING) as w:
        async with w.client(SPAMMER) as client:
            answer = await client.mail()
            assert answer.startswith("550 5.7.1 ")
            assert (await client("NOOP"))[:3] == "250"  # the sender is still on the line, and knows
        assert w.hop.messages == []


async def test_1_5_a_client_that_is_refused_outright_costs_no_message(tmp_path: Path) -> None:
    async with worker(tmp_path, settings=listed(tmp_path, f"deny address {SPAMMER}")) as w:
        assert (await rcpt(w, SPAMMER))[:3] == "550"
        assert asked(w.hop) == 0


@pytest.mark.parametrize("said", ["550 5.7.1 no", "451 4.3.0 later", "250 2.0.0 Ok: queued as 4ABC"])
async def test_1_6_nothing_is_acknowledged_and_then_dropped(w: Worker, said: str) -> None:
    w.hop.replies["."] = said
    async with w.client(OTHER) as client:
        assert (await client.mail()) == said  # the one answer is that of who takes the mail, or nobody's 250
    [record] = await w.records()
    assert record.next_hop is not None
    assert record.next_hop.code == int(said[:3])


# --- 2.1: relaying ----------------------------------------------------------------------------------------------------

RELAYING = [
    "victim@elsewhere.example",
    "@example.org:victim@elsewhere.example",
    "@elsewhere.example:one@elsewhere.example",
    "victim%elsewhere.example@example.org",
    "elsewhere.example!victim@example.org",
    "@example.org:victim%elsewhere.example@example.org",
    '"victim@elsewhere.example"@example.org',
    '"victim%elsewhere.example"@example.org',
    "victim%elsewhere.example%example.org@example.org",
]


@pytest.mark.parametrize("path", RELAYING)
async def test_2_1_nobody_relays_through_us_however_the_path_is_written(w: Worker, path: str) -> None:
    async with w.client(SPAMMER) as client:
        await client("MAIL FROM:<s@example.org>")
        assert (await client(f"RCPT TO:<{path}>"))[:3] in {"550", "501", "553"}
    assert asked(w.hop) == 0


async def test_2_1_mail_for_our_domains_is_taken(w: Worker) -> None:
    assert (await rcpt(w, OTHER))[:3] == "250"
    assert (await rcpt(w, OTHER, to="@example.org:one@example.org"))[:3] == "250"  # a route that leads here


# --- 2.2: Received ----------------------------------------------------------------------------------------------------


async def test_2_2_the_mta_is_told_the_true_client_so_that_its_received_line_is_true(tmp_path: Path) -> None:
    async with worker(tmp_path, zone=NAMES) as w:
        w.hop.capabilities |= {"XCLIENT": "NAME ADDR PORT PROTO HELO LOGIN"}
        await w.next_hop.probe()
        async with w.client(SPAMMER, helo="helo.spammer.example") as client:
            await client.mail()
        [message] = w.hop.messages
        told = message.xclient
        assert (told["ADDR"], told["HELO"], told["NAME"]) == (SPAMMER, "helo.spammer.example", "mail.spammer.example")


async def test_2_2_where_the_mta_cannot_be_told_our_own_received_line_says_it(w: Worker) -> None:
    async with w.client(SPAMMER, helo="helo.spammer.example") as client:
        await client.mail()
    received = w.hop.messages[0].data.split(b"\r\n\r\n")[0]
    for fact in (b"from helo.spammer.example", SPAMMER.encode(), b"by mx.example.org", b"Received: "):
        assert fact in received


# --- 2.3, 2.4: logs ---------------------------------------------------------------------------------------------------


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [one.facts for one in caplog.records if one.message == event]  # type: ignore[attr-defined]  # our own


async def test_2_3_what_is_taken_is_logged_with_who_when_and_to_whom(
    w: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gatekeeper")
    async with w.client(OTHER, helo="mail.example.net") as client:
        await client.mail()
    [facts] = logged(caplog, "mail_accepted")
    assert (facts["client"], facts["helo"], facts["from"], facts["to"]) == (
        OTHER,
        "mail.example.net",
        "s@example.net",
        ["one@example.org"],
    )
    [record] = await w.records()
    assert record.time > 1_700_000_000


async def test_2_4_a_refusal_is_logged_with_reason_recipient_address_name_helo_and_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gatekeeper")
    async with worker(tmp_path, zone=NAMES, settings=REJECTING) as w:
        async with w.client(SPAMMER, helo="i.am.you") as client:
            await client.mail()
    [facts] = logged(caplog, "mail_rejected")
    assert (facts["client"], facts["name"], facts["helo"]) == (SPAMMER, "mail.spammer.example", "i.am.you")
    assert (facts["from"], facts["to"]) == ("s@example.net", ["one@example.org"])
    assert "DKIM_NONE=20" in facts["rules"]
    assert facts["reply"].startswith("550 5.7.1 ")


async def test_2_4_refusals_do_not_flood_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gatekeeper")
    async with worker(tmp_path, settings=listed(tmp_path, "deny address 198.51.100.0/24")) as w:
        for n in range(30):
            assert (await rcpt(w, f"198.51.100.{n}"))[:3] == "550"
        lines = logged(caplog, "mail_rejected")
        assert len(lines) == 1  # the others of that minute are counted in one more
        records = await w.records()
        assert [one.folded for one in records] == [29]


async def test_2_4_what_strangers_say_cannot_forge_a_line(w: Worker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gatekeeper")
    async with w.client(OTHER, helo='x" id=forged client=203.0.113.1') as client:
        await client.mail(LETTER)
    [facts] = logged(caplog, "mail_accepted")
    words = line("mail_accepted", facts).split(' helo="x')[0].split()
    assert f"client={OTHER}" in words
    assert "client=203.0.113.1" not in words
    assert facts["helo"] not in line("mail_accepted", facts)  # its quote is not one


# --- 2.5: lists -------------------------------------------------------------------------------------------------------


async def test_2_5_hosts_and_groups_of_hosts_are_refused(tmp_path: Path) -> None:
    lines = (
        "deny address 198.51.100.0/24 because we had enough",
        "deny name *.spammer.example",
        "deny address 2001:db8::/32",
    )
    async with worker(tmp_path, zone=NAMES, settings=listed(tmp_path, *lines)) as w:
        assert (await rcpt(w, SPAMMER)).startswith("550 5.7.1 we had enough (id ")
        assert (await rcpt(w, "2001:db8::77"))[:3] == "550"
        assert (await rcpt(w, OTHER))[:3] == "250"


async def test_2_5_a_host_is_refused_by_the_name_that_dns_confirms(tmp_path: Path) -> None:
    async with worker(tmp_path, zone=NAMES, settings=listed(tmp_path, "deny name *.spammer.example")) as w:
        assert (await rcpt(w, SPAMMER))[:3] == "550"
        async with w.client(OTHER, helo="mail.spammer.example") as client:  # who merely says so
            assert (await client.mail())[:3] == "250"


async def test_2_5_the_first_line_wins(tmp_path: Path) -> None:
    lines = "allow address 198.51.100.77", "deny address 198.51.100.0/24"
    async with worker(tmp_path, settings=listed(tmp_path, *lines)) as w:
        assert (await rcpt(w, SPAMMER))[:3] == "250"
        assert (await rcpt(w, "198.51.100.78"))[:3] == "550"


async def test_2_5_postmaster_hears_from_those_who_are_refused(tmp_path: Path) -> None:
    async with worker(tmp_path, settings=listed(tmp_path, f"deny address {SPAMMER}")) as w:
        assert (await rcpt(w, SPAMMER, to="postmaster@example.org"))[:3] == "250"
        assert (await rcpt(w, SPAMMER, to="abuse@example.org"))[:3] == "250"


async def test_2_5_a_refusal_is_undone_while_the_server_runs(tmp_path: Path) -> None:
    settings = listed(tmp_path, f"deny address {SPAMMER}")
    async with worker(tmp_path, settings=settings) as w:
        source = w.configuration.check("operator_lists")._source  # type: ignore[union-attr]  # its own clock
        source.monotonic = iter(range(10, 10_000)).__next__
        assert (await rcpt(w, SPAMMER))[:3] == "550"
        listed(tmp_path, "# nobody")
        assert (await rcpt(w, SPAMMER))[:3] == "250"


# --- 2.6, 2.7: senders ------------------------------------------------------------------------------------------------


async def test_2_6_the_null_sender_is_never_refused(tmp_path: Path) -> None:
    harsh = (
        '[checks.rates]\nlimits = [{ what = "messages", per = ["sender"], most = 1, within = "1h" }, '
        '{ what = "messages", per = ["network", "sender_domain"], most = 1, within = "1h" }]\n'
    )
    async with worker(tmp_path, settings=harsh) as w:
        for _ in range(5):
            async with w.client(OTHER) as client:
                assert (await client.mail(sender=""))[:3] == "250"


async def test_2_6_the_null_sender_may_write_to_several(w: Worker) -> None:
    async with w.client(OTHER) as client:
        assert (await client("MAIL FROM:<>"))[:3] == "250"
        for n in range(10):
            assert (await client(f"RCPT TO:<u{n}@example.org>"))[:3] == "250"
        await client("DATA")
        assert (await client.message())[:3] == "250"


async def test_2_6_our_own_domain_as_sender_is_not_refused(w: Worker) -> None:
    async with w.client(OTHER) as client:
        assert (await client.mail(sender="one@example.org"))[:3] == "250"


def test_2_6_the_null_sender_cannot_even_be_listed() -> None:
    with pytest.raises(BadLine):
        parse_line("deny sender <>")


async def test_2_7_single_senders_and_whole_domains_are_refused(tmp_path: Path) -> None:
    lines = "deny sender spam@example.net", "deny sender @*.bad.example", "deny sender offer-*@example.com"
    async with worker(tmp_path, settings=listed(tmp_path, *lines)) as w:
        for sender in ("SPAM@example.net", "x@a.bad.example", "offer-77@example.com"):
            assert (await rcpt(w, OTHER, sender=sender))[:3] == "550"
        for sender in ("ham@example.net", "x@bad.example", "offer@example.com"):
            assert (await rcpt(w, OTHER, sender=sender))[:3] == "250"


# --- 2.8: rates -------------------------------------------------------------------------------------------------------

RATES = [
    ('["sender"]', [OTHER, SPAMMER], ["a@example.net"] * 2, ["one"] * 2),
    ('["sender_domain"]', [OTHER, SPAMMER], ["a@example.net", "b@example.net"], ["one"] * 2),
    ('["address"]', [OTHER, OTHER], ["a@example.net", "b@example.com"], ["one", "two"]),
    ('["network"]', [OTHER, "192.0.2.99"], ["a@example.net", "b@example.com"], ["one", "two"]),
    ('["recipient"]', [OTHER, SPAMMER], ["a@example.net", "b@example.com"], ["one", "One"]),
    ('["network", "sender"]', [OTHER, "192.0.2.99"], ["a@example.net"] * 2, ["one", "two"]),
    ('["sender", "recipient"]', [OTHER, SPAMMER], ["a@example.net"] * 2, ["one"] * 2),
    ('["address", "recipient"]', ["2001:db8::1", "2001:db8::2"], ["a@example.net", "b@example.com"], ["one"] * 2),
]


@pytest.mark.parametrize(("per", "clients", "senders", "names"), RATES, ids=[one[0] for one in RATES])
async def test_2_8_rates_are_limited_by_whom_and_by_combinations(
    tmp_path: Path, per: str, clients: list[str], senders: list[str], names: list[str]
) -> None:
    settings = f'[[checks.rates.limits]]\nwhat = "messages"\nper = {per}\nmost = 1\nwithin = "1h"\n'
    async with worker(tmp_path, settings=settings) as w:
        async with w.client(clients[0]) as client:
            await client(f"MAIL FROM:<{senders[0]}>")
            await client(f"RCPT TO:<{names[0]}@example.org>")
            await client("DATA")
            assert (await client.message())[:3] == "250"
        answer = await rcpt(w, clients[1], sender=senders[1], to=f"{names[1]}@example.org")
        assert answer.startswith("451 4.7.1 Too many messages ")
        assert ", try again after " in answer
        assert (await rcpt(w, "203.0.113.5", sender="x@other.example", to="three@example.org"))[:3] == "250"


async def test_2_8_recipients_are_limited_and_those_before_are_kept(tmp_path: Path) -> None:
    settings = '[[checks.rates.limits]]\nwhat = "recipients"\nper = ["address"]\nmost = 3\n'
    async with worker(tmp_path, settings=settings) as w, w.client(OTHER) as client:
        await client("MAIL FROM:<a@example.net>")
        codes = [(await client(f"RCPT TO:<u{n}@example.org>"))[:3] for n in range(5)]
        assert codes == ["250"] * 3 + ["451"] * 2
        await client("DATA")
        assert (await client.message())[:3] == "250"
        assert len(w.hop.messages[0].recipients) == 3


async def test_2_8_connections_are_limited(tmp_path: Path) -> None:
    settings = '[[checks.rates.limits]]\nwhat = "connections"\nper = ["address"]\nmost = 2\n'
    async with worker(tmp_path, settings=settings) as w:
        for _ in range(2):
            async with w.client(OTHER):
                pass
        async with SmtpClient(w.port) as client:
            await client("EHLO proxy.example")
            answer = await client(f"XCLIENT ADDR={OTHER}")
            assert answer.startswith("421 4.7.1 Too many connections from your address, try again after ")
            assert await client.gone()


async def test_2_8_bytes_are_limited(tmp_path: Path) -> None:
    settings = '[[checks.rates.limits]]\nwhat = "bytes"\nper = ["address"]\nsize = "100kB"\n'
    big = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 900
    async with worker(tmp_path, settings=settings) as w, w.client(OTHER) as client:
        assert (await client.mail(big))[:3] == "250"
        assert (await client.mail(big)).startswith("451 4.7.1 Too many bytes from your address")
        assert (await client.mail())[:3] == "250"


# --- 2.9: the sender's domain -----------------------------------------------------------------------------------------


async def test_2_9_a_senders_domain_that_cannot_be_looked_up_now_is_answered_4xx(tmp_path: Path) -> None:
    zone = {("down.example", kind): Fault.SERVFAIL for kind in ("A", "AAAA", "MX", "TXT")}
    async with worker(tmp_path, zone=zone, settings="[checks.spf]\ndefer = true\n") as w:
        assert (await rcpt(w, OTHER, sender="a@down.example"))[:1] == "4"


async def test_2_9_a_failed_look_up_is_never_a_refusal_for_good(tmp_path: Path) -> None:
    """Not even where what is known would be enough, if what is missing could undo it."""
    lists = (
        '[[checks.dnsbl.lists]]\nzone = "bl.test"\nname = "BL"\nscore = 20.0\n'
        '[[checks.dnsbl.lists]]\nzone = "wl.test"\nname = "WL"\nscore = -15.0\n'
    )
    zone: dict[tuple[str, str], Any] = {
        ("77.100.51.198.bl.test", "A"): ["127.0.0.2"],
        ("77.100.51.198.wl.test", "A"): Fault.SERVFAIL,
    }
    async with worker(tmp_path, zone=zone, settings=lists) as w:
        async with w.client(SPAMMER) as client:
            await client("MAIL FROM:<s@example.net>")
            answer = await client("RCPT TO:<one@example.org>")
            assert answer[:3] == "451"


# --- 2.11 to 2.13: commands and codes ---------------------------------------------------------------------------------


async def test_2_11_vrfy_tells_nothing_and_expn_is_off(w: Worker) -> None:
    w.hop.recipients["nobody@example.org"] = "550 5.1.1 No such user"
    async with w.client(OTHER) as client:
        said = {await client(f"VRFY {name}") for name in ("one@example.org", "nobody@example.org", "one", "")}
        assert said == {"252 2.0.0 Argument not checked, but will take mail and try"}
        assert (await client("EXPN staff@example.org"))[:3] == "502"
    assert asked(w.hop) == 0


async def test_2_12_etrn_is_off(w: Worker) -> None:
    async with w.client(OTHER) as client:
        assert (await client("ETRN example.org"))[:3] == "502"
        assert "ETRN" not in await client("EHLO mail.example.net")


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ("", "250"),
        ("[policy.scores]\nDKIM_NONE = 6.0\n", "250"),
        ("[policy]\ngreylist = 3.0\n[policy.scores]\nDKIM_NONE = 4.0\n", "451"),
        (REJECTING, "550"),
    ],
    ids=["accept", "tag", "greylist", "reject"],
)
async def test_2_13_what_is_decided_is_what_is_answered(tmp_path: Path, settings: str, code: str) -> None:
    async with worker(tmp_path, settings=settings) as w, w.client(OTHER) as client:
        assert (await client.mail(LETTER))[:3] == code
        assert (len(w.hop.messages) == 1) is (code == "250")


async def test_2_13_each_rule_can_be_given_its_own_weight(tmp_path: Path) -> None:
    async with worker(tmp_path, settings="[policy.scores]\nHELO_BARE_IP = 20.0\n") as w:
        async with w.client(OTHER, helo="192.0.2.10") as client:
            await client("MAIL FROM:<s@example.net>")
            code = (await client("RCPT TO:<one@example.org>"))[:3]
            if code == "250":  # what a signature could still undo waits for the message
                await client("DATA")
                code = (await client.message())[:3]
            assert code == "550"


# --- 3.4: source ports ------------------------------------------------------------------------------------------------


async def test_3_4_the_source_port_is_kept_and_logged_so_that_who_is_behind_nat_can_be_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gatekeeper")
    async with worker(tmp_path, top='relay_domains = ["example.org"]') as w:
        async with SmtpClient(w.port) as client:
            port = client.writer.get_extra_info("sockname")[1]
            await client("EHLO mail.example.net")
            assert (await client.mail())[:3] == "250"
        async with SmtpClient(w.port) as client:  # told by whoever stands before us
            await client("EHLO proxy.example")
            await client(f"XCLIENT ADDR={OTHER} PORT=4321")
            await client("EHLO mail.example.net")
            await client.mail()
        assert sorted(one.client.port or 0 for one in await w.records()) == sorted([port, 4321])
        assert [facts["port"] for facts in logged(caplog, "mail_accepted")] == [port, 4321]
