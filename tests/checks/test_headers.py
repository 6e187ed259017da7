"""The rules of form: what each one meets, and what it leaves alone."""

from email.utils import formatdate

import pytest

from gatekeeper.checks.base import Tools
from gatekeeper.checks.headers import DateEvidence, FieldsEvidence, FromEvidence, Headers
from gatekeeper.model import BytesBody, Envelope, Finding, Mail, Message, Missing, Session, Stage
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.headers import MOST_FIELDS
from tests.support.fake_resolver import FakeResolver

NOW = 1_700_000_000.0
DAY = 86400.0
GOOD = b"From: a@example.com\r\nDate: " + formatdate(NOW - 60).encode() + b"\r\nMessage-ID: <1@example.com>\r\n"


def tools() -> Tools:
    return Tools(FakeResolver({}), MemoryStore(), lambda: NOW, "mx.example.org", frozenset({"example.org"}))


async def found(
    header: bytes, *, parameters: tuple[str, ...] = (), framing: tuple[str, ...] = (), check: Headers | None = None
) -> dict[str, Finding]:
    mail = Mail(Session("s", "smtp", NOW), Envelope("e", parameters=parameters), stage=Stage.MESSAGE)
    mail.message = Message(header, BytesBody(b"text\r\n"), framing=framing)
    findings = await (check or Headers()).inspect(mail, tools())
    assert not any(isinstance(finding, Missing) for finding in findings)
    return {finding.rule: finding for finding in findings if isinstance(finding, Finding)}


def dated(seconds: float) -> bytes:
    return GOOD.replace(formatdate(NOW - 60).encode(), formatdate(NOW + seconds).encode())


async def test_a_message_as_it_should_be_has_no_finding():
    assert await found(GOOD + b"To: b@example.org\r\nSubject: x\r\nReceived: a\r\nReceived: b\r\n") == {}


async def test_without_a_message_there_is_nothing_to_find():
    mail = Mail(Session("s", "policy_service", NOW), Envelope("e"))
    assert await Headers().inspect(mail, tools()) == []


@pytest.mark.parametrize(
    ("header", "rules"),
    [
        (b"", {"FROM_MISSING", "DATE_MISSING", "MESSAGE_ID_MISSING"}),
        (GOOD + b"From: b@example.com\r\n", {"FROM_SEVERAL"}),
        (GOOD.replace(b"a@", b"b@one.example, a@"), {"FROM_SEVERAL"}),
        (GOOD.replace(b"a@example.com", b"root"), {"FROM_AMBIGUOUS"}),
        (GOOD.replace(b"a@example.com", b""), {"FROM_AMBIGUOUS"}),
        (GOOD.replace(b"a@example.com", b"b@evil.example <a@example.com>"), {"FROM_AMBIGUOUS"}),
        (GOOD + b"From: \0\r\n", {"FROM_SEVERAL", "FROM_AMBIGUOUS", "HEADER_MALFORMED"}),
        (GOOD + b"From: @\r\n", {"FROM_SEVERAL", "FROM_AMBIGUOUS"}),
        (dated(-13 * DAY), set()),
        (dated(-15 * DAY), {"DATE_PAST"}),
        (dated(0.9 * DAY), set()),
        (dated(1.1 * DAY), {"DATE_FUTURE"}),
        (GOOD.replace(b"Nov", b"Foo"), {"DATE_INVALID"}),
        (GOOD + b"Subject: a\r\nSubject: b\r\n", {"HEADER_REPEATED"}),
        (GOOD + b"Sender: a@b.example\r\nSender: b@b.example\r\n", {"HEADER_REPEATED", "FROM_AMBIGUOUS"}),
        (GOOD + b"Sender: a@b.example, b@c.example\r\n", {"FROM_AMBIGUOUS"}),
        (GOOD + b"Sender: root\r\n", set()),
        (GOOD + b"To: a@b.example\r\nto: b@b.example\r\n", {"HEADER_REPEATED"}),
        (GOOD + b"Comments: a\r\nComments: b\r\nKeywords: c\r\nKeywords: d\r\n", set()),
        (GOOD + b"junk\r\n", {"HEADER_MALFORMED"}),
        (b"From joe Mon Jan  1 00:00:00 2024\r\n" + GOOD, set()),
        (GOOD + b"X: y\r\n" * 248, {"HEADER_MANY"}),
        (GOOD + b"X: y\r\n" * 247, set()),
        (GOOD + b"Subject: \xc3\xbc\r\n", {"HEADER_EIGHT_BIT"}),
    ],
)
async def test_each_rule_meets_its_evidence(header: bytes, rules: set[str]):
    assert set(await found(header)) == rules


async def test_eight_bit_is_fine_with_smtputf8():
    assert await found(GOOD + b"Subject: \xc3\xbc\r\n", parameters=("SIZE=1", "smtputf8")) == {}


async def test_bare_line_feeds_are_told():
    assert set(await found(GOOD, framing=("bare_lf",))) == {"BARE_LF"}


async def test_the_evidence_says_what_was_seen():
    findings = await found(dated(2 * DAY) + b"From: b@evil.example\r\nTo: a@b.example\r\nTo: x\r\njunk\r\n")
    assert findings["FROM_SEVERAL"].evidence == FromEvidence(None, ("several_fields", "several_addresses"))
    assert findings["DATE_FUTURE"].evidence == DateEvidence(2 * DAY)
    assert findings["HEADER_REPEATED"].evidence == FieldsEvidence(2, ("to",))
    assert findings["HEADER_MALFORMED"].evidence == FieldsEvidence(1, ("no_colon",))


async def test_the_text_of_a_finding_is_short_and_printable():
    header = GOOD.replace(b"Nov", b"\r\n \0\x1b[31m" + b"x" * 3000) + b"\0" * 3000 + b":x\r\n"
    for finding in (await found(header)).values():
        assert finding.text.isprintable()
        assert len(finding.text) < 250


async def test_a_hostile_header_has_few_and_small_findings():
    findings = await found(b"From: a@b.example\r\njunk\r\n" * 10_000)
    assert findings["HEADER_MALFORMED"].evidence == FieldsEvidence(MOST_FIELDS // 2 + 1, ("no_colon", "too_many"))
    assert findings["HEADER_MANY"].evidence == FieldsEvidence(MOST_FIELDS + 1)


async def test_the_bounds_can_be_set():
    check = Headers(past=2 * DAY, future=3600, maximum_fields=3)
    assert set(await found(dated(-3 * DAY) + b"X: y\r\n", check=check)) == {"DATE_PAST", "HEADER_MANY"}
    assert set(await found(dated(7200), check=check)) == {"DATE_FUTURE"}


@pytest.mark.parametrize("values", [{"past": 0}, {"future": -1}, {"maximum_fields": 0}])
def test_bounds_that_mean_nothing_are_refused(values: dict[str, int]):
    with pytest.raises(ValueError, match="must be"):
        Headers(**values)


def test_all_rules_together_stay_below_tag_and_none_weighs_much():
    scores = [rule.score for rule in Headers().rules()]
    assert sum(scores) < 5.0
    assert max(scores) <= 2.0
    assert all(rule.decides is None for rule in Headers().rules())


async def test_every_rule_can_be_found_and_every_finding_has_a_rule():
    worst = await found(b"From: a,b\r\nFrom: c\r\njunk\xff\r\n" + b"To: x\r\n" * 300, framing=("bare_lf",))
    others = {"FROM_MISSING", "DATE_INVALID", "DATE_PAST", "DATE_FUTURE"}
    assert set(worst) | others == {rule.name for rule in Headers().rules()}
