import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.clamav import MAIL, ClamAv, SignatureEvidence, SkippedEvidence
from gatekeeper.model import Envelope, Finding, Mail, Missing, Session, Stage
from gatekeeper.scanning.clamd import ClamdAway
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.clamd import Answer, Result
from tests.support.fake_resolver import FakeResolver
from tests.support.mail import message_of

TOOLS = Tools(FakeResolver({}), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset())


class FakeClamd:
    def __init__(self, answer: Answer | ClamdAway) -> None:
        self.answer = answer
        self.heard = b""
        self.closed = False

    async def scan(self, chunks):
        self.heard = b"".join(chunks())
        if isinstance(self.answer, ClamdAway):
            raise self.answer
        return self.answer

    async def close(self):
        self.closed = True


async def inspect(answer: Answer | ClamdAway, **settings):
    check = ClamAv(clamd="127.0.0.1:3310", **settings)
    fake = check.__dict__["_client"] = FakeClamd(answer)
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"))
    mail.message = message_of("Subject: x\n\nhello\n")
    return fake, await check.inspect(mail, TOOLS)


@pytest.mark.parametrize(
    ("signature", "rule"),
    [
        ("Win.Test.EICAR_HDB-1", "CLAMAV_MALWARE"),
        ("Heuristics.Phishing.Email.SpoofedDomain", "CLAMAV_SUSPECT"),
        ("Sanesecurity.Junk.1.UNOFFICIAL", "CLAMAV_SUSPECT"),
        ("My.Own.UNOFFICIAL", "CLAMAV_SUSPECT"),
    ],
)
async def test_what_it_finds_is_found_whole_message_and_all(signature, rule):
    fake, found = await inspect(Answer(Result.FOUND, signature))
    assert found == (Finding(rule, SignatureEvidence(signature), signature),)
    assert fake.heard == MAIL + b"Subject: x\r\n\r\nhello\r\n"


async def test_a_clean_message_is_nothing():
    assert (await inspect(Answer(Result.CLEAN)))[1] == ()


async def test_its_absence_is_no_evidence():
    [missing] = (await inspect(ClamdAway("it took too long")))[1]
    assert missing == Missing("clamav", ("CLAMAV_MALWARE", "CLAMAV_SUSPECT"), "it took too long")


async def test_what_is_too_large_is_said():
    fake, [found] = await inspect(Answer(Result.CLEAN), max_size=10)
    assert (found.rule, found.evidence, fake.heard) == ("CLAMAV_SKIPPED", SkippedEvidence(21), b"")
    assert [each.rule for each in (await inspect(Answer(Result.TOO_LARGE)))[1]] == ["CLAMAV_SKIPPED"]


async def test_without_a_clamd_nothing_is_done():
    check = ClamAv()
    assert check.idle_at(Stage.MESSAGE)
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"))
    mail.message = message_of("Subject: x\n\nhello\n")
    assert await check.inspect(mail, TOOLS) == ()
    await check.close()


async def test_its_sessions_are_closed_at_the_end():
    check = ClamAv(clamd="127.0.0.1:3310")
    fake = check.__dict__["_client"] = FakeClamd(Answer(Result.CLEAN))
    await check.close()
    assert fake.closed


@pytest.mark.parametrize(
    "settings",
    [{"clamd": "localhost"}, {"clamd": "systemd:x"}, {"timeout": 0.0}, {"sessions": 0}, {"suspect": ("",)}],
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError):
        ClamAv(**settings)
