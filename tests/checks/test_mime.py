"""Could two mail programs see two messages?"""

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.mime import AmbiguityEvidence, LeftOutEvidence, Mime
from gatekeeper.model import Envelope, Finding, Mail, Session
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of


async def found(raw: str | None) -> list[Finding]:
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"), None if raw is None else message_of(raw))
    tools = Tools(FakeResolver({}), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset())
    return [each for each in await Mime().inspect(mail, tools) if isinstance(each, Finding)]


TWO = "Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\none\n--a--\n--b\n\ntwo\n--b--\n"


async def test_two_boundaries_are_two_messages():
    (finding,) = await found(TWO)
    assert finding.rule == "MIME_AMBIGUOUS"
    assert isinstance(finding.evidence, AmbiguityEvidence)
    assert "boundaries" in finding.evidence.ambiguities
    assert finding.evidence.other_readings > 0
    assert "boundaries" in finding.text


async def test_what_harmless_programs_do_is_called_sloppy():
    (finding,) = await found("Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n")
    assert (finding.rule, finding.evidence.ambiguities) == ("MIME_SLOPPY", ("terminator_missing",))


async def test_parts_beyond_the_budget_are_told():
    nested = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(40)) + "\nx\n"
    evidence = {type(each.evidence): each.evidence for each in await found(nested)}
    assert evidence[LeftOutEvidence].budgets == ("depth",)


@pytest.mark.parametrize("raw", [None, "", "Subject: x\n\ntext\n"])
async def test_a_plain_message_has_nothing_of_the_kind(raw):
    """There is nothing to ask anybody about, and so no outage."""
    assert await found(raw) == []
