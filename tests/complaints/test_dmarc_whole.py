"""From sessions of a whole worker to the report that is sent of them."""

from __future__ import annotations

from pathlib import Path

from gatekeeper.complaints.dmarc import DAY, day_of
from gatekeeper.complaints.dmarc_sending import Outcome, Reports, relayed
from gatekeeper.nexthop import NextHop, NextHopUrl
from gatekeeper.nexthop import Settings as NextHopSettings
from tests.support.dmarc_report import attached, validated, value, values
from tests.support.next_hop import FakeNextHop
from tests.support.worker import worker

ZONE = {
    ("example.com", "TXT"): ['"v=spf1 ip4:192.0.2.1 -all"'],
    ("elsewhere.test", "TXT"): ['"v=spf1 ip4:192.0.2.66 -all"'],
    ("_dmarc.example.com", "TXT"): ['"v=DMARC1; p=reject; rua=mailto:dmarc@reports.test"'],
    ("example.com._report._dmarc.reports.test", "TXT"): ['"v=DMARC1"'],
}
SETTINGS = '[complaints.dmarc]\nemail = "dmarc@example.org"\npause = "0s"'
TEXT = (
    b"Date: Fri, 27 Nov 2026 12:00:00 +0000\r\nFrom: a@example.com\r\nTo: ann@example.org\r\n"
    b"Message-ID: <1@example.com>\r\nSubject: x\r\n%s\r\ntext\r\n"
)


async def test_what_came_in_is_what_is_reported(tmp_path: Path) -> None:
    async with worker(tmp_path, zone=ZONE, settings=SETTINGS) as here, FakeNextHop() as relay:
        for address, sender, extra in (
            ("192.0.2.1", "a@example.com", b""),
            ("192.0.2.1", "a@example.com", b""),
            ("192.0.2.66", "b@elsewhere.test", b""),
            ("192.0.2.66", "b@elsewhere.test", b"List-Id: <list.elsewhere.test>\r\n"),
        ):
            async with here.client(address) as client:
                await client.mail(TEXT % extra, sender=sender)
        here.hop.replies["."] = ["451 4.3.0 later"]
        async with here.client("192.0.2.1") as client:  # will come again, and is counted then
            await client.mail(TEXT % b"", sender="a@example.com")
        evidence = here.parts.evidence
        assert evidence is not None
        await evidence.flush()
        started = here.parts.gate.session("test").started
        to = NextHop(NextHopUrl.parse(relay.url), NextHopSettings(hand_on="none"), hostname="mx.example.org")
        try:
            reports = Reports(
                here.configuration.complaints.dmarc,
                store=here.parts.store,
                resolver=here.parts.resolver,
                clock=lambda: started + DAY,
                send=relayed(to, "mx.example.org"),
            )
            sent = [one async for one in reports.send(day_of(started))]
        finally:
            await to.close()
        assert [(one.address, one.outcome) for one in sent] == [("dmarc@reports.test", Outcome.SENT)]
        document = attached(relay.messages[0].data)
        root = validated(document)
        assert value(root, "policy_published/domain") == "example.com"
        assert values(root, "record/row/count") == ["2", "1", "1"]
        assert values(root, "record/row/source_ip")[0] == "192.0.2.1"
        assert sorted(values(root, "record/row/policy_evaluated/disposition")) == ["pass", "quarantine", "reject"]
        assert values(root, "record/row/policy_evaluated/reason/type") == ["mailing_list"]
        assert sorted(values(root, "record/identifiers/envelope_from")) == [
            "elsewhere.test", "elsewhere.test", "example.com",
        ]  # fmt: skip
        assert "ann@" not in document.decode()


async def test_without_a_setting_nothing_is_counted(tmp_path: Path) -> None:
    async with worker(tmp_path, zone=ZONE) as here:
        assert here.parts.evidence is None
