"""One DMARC aggregate report as XML, and as the mail that carries it (RFC 9990 §3.1, §3.5.2, appendix A). Pure."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from xml.sax.saxutils import escape

from gatekeeper.complaints.dmarc import DAY, Published, Row, begin_of
from gatekeeper.wire.date import format_date

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"
MOST_TEXT = 1000  # characters of one element
LINE = 76  # of base64 (RFC 2045 §6.8)

NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NOT_SHOWN = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports. `submitter` is the domain that stands in subject and file name, and that of `email`."""

    submitter: str
    email: str
    organization: str
    contact: str
    generator: str


@dataclass(frozen=True, slots=True)
class Report:
    """One policy domain's day. `id` is letters and digits, and no other report has it.

    `secret` is never told: what it makes of an address, only that address is told.
    """

    id: str
    day: str
    domain: str
    published: Published
    rows: tuple[tuple[Row, int], ...]
    secret: str = field(repr=False)

    @property
    def begin(self) -> int:
        return begin_of(self.day)

    @property
    def end(self) -> int:
        """The last second of the day."""
        return self.begin + DAY - 1


def xml(report: Report, reporter: Reporter) -> bytes:
    """The report in UTF-8; elements stand in the order of the standard's tables."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<feedback xmlns="{NAMESPACE}">']
    lines += [_text(1, "version", "1.0"), *_metadata(report, reporter), *_policy(report)]
    for row, count in report.rows:
        lines += _record(row, count)
    lines.append("</feedback>\n")
    return "\n".join(lines).encode()


def _metadata(report: Report, reporter: Reporter) -> Iterator[str]:
    yield "  <report_metadata>"
    yield _text(2, "org_name", reporter.organization)
    yield _text(2, "email", reporter.email)
    if reporter.contact:
        yield _text(2, "extra_contact_info", reporter.contact)
    yield _text(2, "report_id", report.id)
    yield f"    <date_range>\n      <begin>{report.begin}</begin>\n      <end>{report.end}</end>\n    </date_range>"
    if report.published.wrong:
        tags = ", ".join(f"{tag}=" for tag in report.published.wrong)
        yield _text(2, "error", f"the record has a value that cannot be read: {tags}")
    yield _text(2, "generator", reporter.generator)
    yield "  </report_metadata>"


def _policy(report: Report) -> Iterator[str]:
    policy = report.published
    yield "  <policy_published>"
    yield _text(2, "domain", report.domain)
    yield _text(2, "discovery_method", "treewalk")
    for name, value in (("p", policy.p), ("sp", policy.sp), ("np", policy.np), ("fo", policy.fo)):
        yield _text(2, name, value)
    for name, value in (("adkim", policy.adkim), ("aspf", policy.aspf), ("testing", "y" if policy.testing else "n")):
        yield _text(2, name, value)
    yield "  </policy_published>"


def _record(row: Row, count: int) -> Iterator[str]:
    yield "  <record>\n    <row>"
    yield _text(3, "source_ip", row.address)
    yield _text(3, "count", str(count))
    yield "      <policy_evaluated>"
    yield _text(4, "disposition", row.disposition)
    yield _text(4, "dkim", "pass" if row.dkim else "fail")
    yield _text(4, "spf", "pass" if row.spf else "fail")
    for kind, comment in row.reasons:
        yield "        <reason>"
        yield _text(5, "type", kind)
        if comment:
            yield _text(5, "comment", comment)
        yield "        </reason>"
    yield "      </policy_evaluated>\n    </row>\n    <identifiers>"
    yield _text(3, "header_from", row.author)
    if row.sender is not None:
        yield _text(3, "envelope_from", row.sender)
    yield "    </identifiers>\n    <auth_results>"
    for one in row.signatures:
        yield "      <dkim>"
        yield _text(4, "domain", one.domain)
        yield _text(4, "selector", one.selector)
        yield _text(4, "result", one.result)
        yield "      </dkim>"
    if row.spf_result:
        yield "      <spf>"
        yield _text(4, "domain", row.spf_domain)
        yield _text(4, "scope", "mfrom")
        yield _text(4, "result", row.spf_result)
        yield "      </spf>"
    yield "    </auth_results>\n  </record>"


def _text(depth: int, name: str, text: str) -> str:
    """One element; whatever a stranger's text holds, it stays inside."""
    return f"{'  ' * depth}<{name}>{escape(NOT_XML.sub('?', text[:MOST_TEXT]))}</{name}>"


def file_name(report: Report, reporter: Reporter) -> str:
    """RFC 9990 §3.5.2; the same whenever the same report is sent again."""
    return f"{reporter.submitter}!{report.domain}!{report.begin}!{report.end}!{report.id}.xml.gz"


def message_id(report: Report, reporter: Reporter, *, to: str, number: int) -> str:
    """Without angle brackets; the same whenever the report is sent again to the same destination.

    Who gets the report cannot tell from it what another destination's is, and so cannot feign a bounce of that one.
    """
    about = f"{report.id} {to.lower()}".encode("utf-8", "surrogateescape")
    digest = blake2b(about, key=report.secret.encode("ascii")[:64], digest_size=8).hexdigest()
    return f"{report.day.replace('-', '')}{digest}.{number}@{reporter.submitter}"


def message(report: Report, reporter: Reporter, document: bytes, *, to: str, number: int, now: float) -> bytes:
    """The mail to one destination, in canonical CRLF. `document` is the XML, `number` the destination's, from 0.

    An answer that a program makes to it would be an answer to a program (RFC 3834 §5).
    """
    # The same octets whenever it is sent again: no time, no file name inside.
    packed = base64.b64encode(gzip.compress(document, mtime=0)).decode("ascii")
    boundary = f"report-{report.id}"
    name = file_name(report, reporter)
    lines = [
        f"From: {_phrase(reporter.organization)} <{reporter.email}>",
        f"To: <{to}>",
        f"Subject: Report Domain: {report.domain}",
        f" Submitter: {reporter.submitter}",
        f" Report-ID: <{report.id}>",
        f"Date: {format_date(now)}",
        f"Message-ID: <{message_id(report, reporter, to=to, number=number)}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        *_words(report, reporter),
        f"--{boundary}",
        "Content-Type: application/gzip;",
        f' name="{name}"',
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment;",
        f' filename="{name}"',
        "",
        *(packed[n : n + LINE] for n in range(0, len(packed), LINE)),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii")


def _words(report: Report, reporter: Reporter) -> Iterable[str]:
    """For the person who opens it."""
    yield f"This is a DMARC aggregate report (RFC 9990) about mail from {report.domain},"
    yield f"as {reporter.submitter} received it on {report.day} (UTC)."
    yield f"The domain's record at _dmarc.{report.domain} asks for it."
    if reporter.contact:
        yield f"Contact: {NOT_SHOWN.sub('?', reporter.contact)[:200]}"
    yield ""


def _phrase(text: str) -> str:
    """A display name (RFC 5322 §3.4)."""
    shown = NOT_SHOWN.sub("?", text)[:100].replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown}"'
