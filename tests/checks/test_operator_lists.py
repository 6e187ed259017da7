"""The operator's lists: the first line that a mail meets, and who may be let in on its own word."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from gatekeeper.checks.base import ReverseName, Tools
from gatekeeper.checks.list_source import put_added
from gatekeeper.checks.operator_lists import OperatorLists
from gatekeeper.config import ConfigurationError, read
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.spf import SpfCode, SpfIdentity, SpfResult
from gatekeeper.model import Action, Address, Envelope, Finding, Kind, Mail, Recipient, Rule, Session, Stage
from gatekeeper.policy import Policy, Settings
from gatekeeper.wire.list_lines import ListEntry
from gatekeeper.wire.process import START_VARIABLE
from tests.support.fake_resolver import FakeResolver
from tests.support.fake_store import FakeStore

NOW = 1_800_000_000.0


class Site:
    def __init__(self, directory: Path, *lines: str) -> None:
        self.file = directory / "a.list"
        self.file.write_text("\n".join(lines))
        self.check = OperatorLists(files=(str(self.file),))
        self.store = FakeStore()
        self.now = NOW
        self.tools = Tools(FakeResolver(), self.store, lambda: self.now, "mx.example.org", frozenset({"example.org"}))

    async def found(self, stage: Stage, mail: Mail) -> list[str]:
        mail.stage = stage
        return [found.rule for found in await self.check.inspect(mail, self.tools)]


def mail(
    address: str = "192.0.2.7",
    *,
    sender: str = "ann@example.net",
    helo: str = "mail.example.net",
    name: str = "",
    confirmed: bool = True,
    to: str = "",
    spf: str = "",
    signed: str = "",
) -> Mail:
    local, _, domain = sender.rpartition("@")
    made = Mail(
        Session("s", "smtp", 0.0, address=ip_address(address), helo=helo), Envelope("e", Address(local, domain))
    )
    if name:
        made.session.notebook.findings.append(Finding("RDNS", ReverseName(name, confirmed)))
    if spf:
        made.envelope.notebook.findings.append(Finding("SPF_PASS", SpfResult(SpfCode.PASS, spf, SpfIdentity.MAILFROM)))
    if signed:
        sign(made, signed)
    if to:
        made.recipient = Recipient(Address(*to.split("@")))
    return made


def sign(one: Mail, domain: str) -> None:
    results = DkimResults((DkimResult(DkimCode.PASS, domain),), 1)
    one.envelope.notebook.findings.append(Finding("DKIM_PASS", results))


@pytest.mark.parametrize(
    ("line", "one", "expected"),
    [
        ("deny address 192.0.2.0/24", mail(), ["OPERATOR_DENY"]),
        ("deny address 192.0.2.0/24", mail("::ffff:192.0.2.7"), ["OPERATOR_DENY"]),
        ("deny address 192.0.2.0/24", mail("198.51.100.7"), []),
        ("deny name *.example.net", mail(name="mail.example.net"), ["OPERATOR_DENY"]),
        ("deny name *.example.net", mail(name="mail.example.net", confirmed=False), []),
        ("deny helo mail.example.net", mail(helo="MAIL.example.net"), ["OPERATOR_DENY"]),
        ("deny sender @example.net", mail(), ["OPERATOR_DENY"]),
        ("deny sender *@example.net", mail(sender="@"), []),
        ("allow address 192.0.2.7", mail(), ["OPERATOR_ALLOW"]),
        ("allow name mail.example.net", mail(name="mail.example.net"), ["OPERATOR_ALLOW"]),
        ("allow helo mail.example.net", mail(), []),
        ("allow helo mail.example.net", mail(name="mail.example.net"), ["OPERATOR_ALLOW"]),
        ("allow helo mail.example.net", mail(name="other.example.net"), []),
        ("allow helo [192.0.2.7]", mail(helo="[192.0.2.7]"), ["OPERATOR_ALLOW"]),
        ("allow helo [192.0.2.7]", mail("198.51.100.7", helo="[192.0.2.7]"), []),
        ("allow sender @example.net", mail(), []),
        ("allow sender @example.net", mail(spf="example.net"), ["OPERATOR_ALLOW"]),
        ("allow sender @example.net", mail(spf="other.example"), []),
        ("exempt sender @example.net", mail(), []),
        ("exempt sender @example.net", mail(spf="example.net"), ["OPERATOR_EXEMPT"]),
        ("exempt address 2001:db8::/32", mail("2001:db8::7"), ["OPERATOR_EXEMPT"]),
    ],
)
async def test_a_line_is_met(tmp_path, line, one, expected):
    assert await Site(tmp_path, line).found(Stage.MAIL, one) == expected


async def test_a_recipient_is_met_when_it_is_named(tmp_path):
    site = Site(tmp_path, "deny recipient gone@example.org because this mailbox is closed", "allow address 192.0.2.7")
    assert await site.found(Stage.MAIL, mail()) == ["OPERATOR_EXEMPT"]  # the first line may still be met
    assert await site.found(Stage.RCPT, mail(to="Gone@example.org")) == ["OPERATOR_DENY"]
    assert await site.found(Stage.RCPT, mail(to="x@example.org")) == ["OPERATOR_ALLOW"]


async def test_the_operators_reason_is_what_the_sender_is_told(tmp_path):
    site = Site(tmp_path, "deny address 192.0.2.7 until 2099-01-01 because your forms flood us")
    one = mail()
    one.stage = Stage.MAIL
    found = await site.check.inspect(one, site.tools)
    verdict = Policy(Settings(), site.check.rules()).decide(found)
    assert (verdict.action, verdict.code, verdict.enhanced) == (Action.REJECT, 550, "5.7.1")
    assert verdict.reason == "your forms flood us"
    assert found[0].evidence == ListEntry(
        "deny", "address", "192.0.2.7/32", f"{site.file}:1", "your forms flood us", 4_070_995_200.0
    )


async def test_when_a_client_connects_it_is_at_most_exempted(tmp_path):
    site = Site(tmp_path, "allow address 192.0.2.7", "deny address 198.51.100.7")
    assert await site.found(Stage.CONNECT, mail()) == ["OPERATOR_EXEMPT"]
    assert await site.found(Stage.CONNECT, mail("198.51.100.7")) == []  # refused when it is known who writes to whom


async def test_a_signature_lets_in_whom_a_line_waits_for(tmp_path):
    site = Site(tmp_path, "allow sender @example.net")
    one = mail()
    assert await site.found(Stage.MAIL, one) == []
    assert "OPERATOR_ALLOW" in site.check.foresee(one)
    assert await site.found(Stage.MESSAGE, one) == []
    sign(one, "example.net")
    assert await site.found(Stage.MESSAGE, one) == ["OPERATOR_ALLOW"]


async def test_nothing_is_foreseen_for_others_so_that_refusals_need_not_wait(tmp_path):
    site = Site(tmp_path, "allow sender @example.com", "deny address 198.51.100.7")
    one = mail()
    await site.found(Stage.MAIL, one)
    assert site.check.foresee(one) == ()
    denied_before = Site(tmp_path, "deny address 192.0.2.7", "allow sender @example.net")
    one = mail()
    await denied_before.found(Stage.MAIL, one)
    assert denied_before.check.foresee(one) == ()


async def test_a_deny_that_stands_first_is_not_undone_by_a_signature(tmp_path):
    site = Site(tmp_path, "deny address 192.0.2.7", "allow sender @example.net")
    one = mail(signed="example.net")
    assert await site.found(Stage.MAIL, one) == ["OPERATOR_DENY"]
    assert await site.found(Stage.MESSAGE, one) == []


async def test_a_line_ends_when_it_says(tmp_path):
    site = Site(tmp_path, "deny address 192.0.2.7 until 2027-01-31")
    assert await site.found(Stage.MAIL, mail()) == ["OPERATOR_DENY"]
    site.now = 1_801_440_000.0  # 2027-02-01T00:00Z
    assert await site.found(Stage.MAIL, mail()) == []


async def test_what_was_added_by_command_counts_first(tmp_path):
    site = Site(tmp_path, "deny address 192.0.2.7")
    await put_added(site.store, ListEntry("allow", "address", "192.0.2.7/32"), by="", now=NOW, token="1")
    assert await site.found(Stage.MAIL, mail()) == ["OPERATOR_ALLOW"]


async def test_without_the_store_the_files_count(tmp_path):
    site = Site(tmp_path, "deny address 192.0.2.7")
    site.store.away = True
    assert await site.found(Stage.MAIL, mail()) == ["OPERATOR_DENY"]


async def test_without_lists_nothing_is_found():
    check = OperatorLists()
    tools = Tools(FakeResolver(), FakeStore(), lambda: NOW, "mx.example.org", frozenset())
    for stage in Stage:
        one = mail(to="x@example.org" if stage is Stage.RCPT else "")
        one.stage = stage
        assert await check.inspect(one, tools) == ()


async def test_an_exemption_takes_rates_and_lists_away_and_nothing_else(tmp_path):
    site = Site(tmp_path, "exempt address 192.0.2.7")
    one = mail()
    one.stage = Stage.MAIL
    found = [*await site.check.inspect(one, site.tools), *(Finding(name) for name in ("LISTED", "FAST", "FORGED"))]
    rules = [
        *site.check.rules(),
        Rule("LISTED", 20.0, "", kind=Kind.LIST),
        Rule("FAST", 0.0, "", kind=Kind.RATE, decides=Action.DROP),
        Rule("FORGED", 6.0, "", kind=Kind.IDENTITY),
    ]
    verdict = Policy(Settings(), rules).decide(found)
    assert (verdict.action, verdict.score) == (Action.TAG, 6.0)
    assert verdict.thresholds.exempt == frozenset({Kind.LIST, Kind.RATE})


async def test_postmaster_hears_from_whom_the_operator_denies(tmp_path):
    site = Site(tmp_path, "deny address 192.0.2.7")
    one = mail()
    one.stage = Stage.MAIL
    policy = Policy(Settings(), site.check.rules(), domains=frozenset({"example.org"}))
    found = await site.check.inspect(one, site.tools)
    assert (
        policy.decide(found, thresholds=policy.thresholds(Address("postmaster", "example.org"))).action is Action.ACCEPT
    )


def test_a_bad_file_stops_the_start_with_the_line_and_the_mend(tmp_path, monkeypatch):
    file = tmp_path / "a.list"
    file.write_text("deny adress 192.0.2.7\n")
    text = f'[checks.operator_lists]\nfiles = ["{file}"]\n'
    with pytest.raises(ConfigurationError) as wrong:
        read(text, "f.toml")
    assert f"{file}:1: " in str(wrong.value)
    assert "write address, name" in str(wrong.value)
    assert str(wrong.value).startswith("f.toml:2: checks.operator_lists.files: ")
    monkeypatch.setenv(START_VARIABLE, "{}")  # a process that takes a dead one's place makes do with the good lines
    assert read(text, "f.toml").check("operator_lists") is not None


def test_a_path_is_whole():
    with pytest.raises(ConfigurationError, match="whole path"):
        read('[checks.operator_lists]\nfiles = ["a.list"]\n', "f.toml")


def test_what_its_lines_can_do_once_the_address_is_known(tmp_path):
    path = tmp_path / "local.list"
    path.write_text("deny address 192.0.2.0/24\n")
    assert list(OperatorLists(files=(str(path),)).possible()) == []
    path.write_text("deny address 192.0.2.0/24\nallow sender @example.net\n")
    assert list(OperatorLists(files=(str(path),)).possible()) == ["OPERATOR_ALLOW"]
