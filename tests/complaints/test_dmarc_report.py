from __future__ import annotations

import email.policy
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.complaints.dmarc import Published, Row, Signature
from gatekeeper.complaints.dmarc_deaths import Deaths
from gatekeeper.complaints.dmarc_report import Report, Reporter, file_name, message, message_id, xml
from gatekeeper.mailauth.dmarc_record import record_of
from tests.complaints.test_dmarc import ROWS
from tests.support.dmarc_report import attached, validated, value, values

RECORD = record_of([b"v=DMARC1; p=reject; np=none; t=y; aspf=s; rua=mailto:a@example.com"])
assert RECORD is not None
REPORTER = Reporter(
    "mx.example.org", "dmarc@mx.example.org", "Example Ltd", "https://example.org/dmarc", "gatekeeper 1"
)
ROW = Row(
    address="2001:db8::1",
    disposition="quarantine",
    dkim=False,
    spf=True,
    author="news.example.com",
    sender="bounce.example.com",
    signatures=(Signature("example.com", "s1", "fail"), Signature("list.test", "", "permerror")),
    spf_domain="bounce.example.com",
    spf_result="pass",
    reasons=(("policy_test_mode", "being tried"), ("other", "")),
)
REPORT = Report("202611270123456789abcdef", "2026-11-27", "example.com", Published.by(RECORD), ((ROW, 12),), "secret")


def test_a_report_has_what_the_standard_wants() -> None:
    root = validated(xml(REPORT, REPORTER))
    assert value(root, "report_metadata/org_name") == "Example Ltd"
    assert value(root, "report_metadata/report_id") == REPORT.id
    assert value(root, "report_metadata/date_range/begin") == "1795737600"
    assert value(root, "report_metadata/date_range/end") == "1795823999"
    assert value(root, "report_metadata/error") is None
    published = {
        name: value(root, f"policy_published/{name}") for name in ("domain", "p", "sp", "np", "aspf", "testing")
    }
    assert published == {
        "domain": "example.com",
        "p": "reject",
        "sp": "reject",
        "np": "none",
        "aspf": "s",
        "testing": "y",
    }
    assert values(root, "record/row/count") == ["12"]
    assert values(root, "record/row/policy_evaluated/reason/type") == ["policy_test_mode", "other"]
    assert values(root, "record/auth_results/dkim/domain") == ["example.com", "list.test"]
    assert value(root, "record/identifiers/envelope_from") == "bounce.example.com"


def test_what_cannot_be_read_in_a_record_is_told_to_its_owner() -> None:
    wrong = replace(REPORT, published=replace(REPORT.published, wrong=("sp", "fo")))
    assert value(validated(xml(wrong, REPORTER)), "report_metadata/error") == (
        "the record has a value that cannot be read: sp=, fo="
    )


def test_what_is_not_known_is_left_out_and_an_empty_sender_is_empty() -> None:
    unknown = replace(ROW, sender=None, spf_domain="", spf_result="", signatures=())
    root = validated(xml(replace(REPORT, rows=((unknown, 1),)), replace(REPORTER, contact="")))
    assert value(root, "record/identifiers/envelope_from") is None
    assert value(root, "record/auth_results/spf") is None
    assert value(root, "report_metadata/extra_contact_info") is None
    empty = replace(ROW, sender="")
    assert (
        value(validated(xml(replace(REPORT, rows=((empty, 1),)), REPORTER)), "record/identifiers/envelope_from") == ""
    )


@given(ROWS, st.text(max_size=40))
def test_no_text_of_a_stranger_leaves_its_element(row: Row, text: str) -> None:
    hostile = replace(
        ROW,
        author="a" + row.author,
        sender=row.sender,
        signatures=tuple(replace(one, domain="d" + one.domain, result="pass") for one in row.signatures),
        spf_domain=row.spf_domain,
        reasons=(("other", "x" + text),),
    )
    root = validated(xml(replace(REPORT, rows=((hostile, 1),)), REPORTER))
    assert len(values(root, "record")) == 1


def parsed(raw: bytes) -> EmailMessage:
    found = message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def test_the_mail_that_carries_it() -> None:
    document = xml(REPORT, REPORTER)
    raw = message(REPORT, REPORTER, document, to="dmarc@example.com", number=1, now=1_795_830_000.0)
    assert b"\r\n" in raw
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    mail = parsed(raw)
    assert mail["Subject"] == (
        "Report Domain: example.com Submitter: mx.example.org Report-ID: <202611270123456789abcdef>"
    )
    assert mail["From"] == "Example Ltd <dmarc@mx.example.org>"
    assert mail["To"] == "dmarc@example.com"
    assert mail["Message-ID"] == f"<{message_id(REPORT, REPORTER, to='dmarc@example.com', number=1)}>"
    assert mail["Auto-Submitted"] == "auto-generated"
    words, attachment = mail.iter_parts()
    assert "example.com" in words.get_content()
    assert attachment.get_content_type() == "application/gzip"
    assert attachment.get_content_disposition() == "attachment"
    name = "mx.example.org!example.com!1795737600!1795823999!202611270123456789abcdef.xml.gz"
    assert attachment.get_filename() == file_name(REPORT, REPORTER) == name
    assert attached(raw) == document


def test_a_second_sending_has_the_same_file() -> None:
    document = xml(REPORT, REPORTER)
    first, second = (
        parsed(message(REPORT, REPORTER, document, to="a@b.test", number=0, now=now)) for now in (1e9, 2e9)
    )
    assert first["Message-ID"] == second["Message-ID"]
    payloads = [list(one.iter_parts())[1].get_payload(decode=True) for one in (first, second)]
    assert payloads[0] == payloads[1]


def test_who_gets_a_report_cannot_tell_the_message_id_of_another_destination() -> None:
    def id_of(to: str, report: Report = REPORT) -> str:
        return message_id(report, REPORTER, to=to, number=0)

    assert id_of("a@b.test") == id_of("A@b.test")
    assert len({id_of("a@b.test"), id_of("b@b.test"), id_of("a@b.test", replace(REPORT, secret="other"))}) == 3
    assert REPORT.id not in id_of("a@b.test")
    assert Deaths.told_by(f"<{id_of('a@b.test')}>".encode()) == [id_of("a@b.test")]
    assert REPORT.secret not in repr(REPORT)
    raw = message(REPORT, REPORTER, xml(REPORT, REPORTER), to="a@b.test", number=0, now=0.0)
    assert REPORT.secret.encode() not in raw


def test_a_name_cannot_break_the_header() -> None:
    hostile = replace(REPORTER, organization='Ex"\r\nBcc: a@b.test\r\n\\', contact="x\r\n\r\ny")
    mail = parsed(message(REPORT, hostile, b"<x/>", to="a@b.test", number=0, now=0.0))
    assert mail["Bcc"] is None
    assert mail["From"].addresses[0].addr_spec == "dmarc@mx.example.org"
