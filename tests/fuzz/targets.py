"""Each parser that meets a stranger, as a function of octets that may raise nothing but a bug.

A refusal that a parser documents is caught here; what it says about its answer (bounds, form) is asserted here.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Coroutine, Iterator
from functools import cache
from ipaddress import IPv4Address
from typing import Any, cast

import h11

from gatekeeper.complaints.dmarc import Published, Row
from gatekeeper.complaints.dmarc_deaths import Deaths
from gatekeeper.dns import packets
from gatekeeper.dns.answer import Status
from gatekeeper.dns.lists import Codes, judge
from gatekeeper.mailauth.arc import verify_arc
from gatekeeper.mailauth.dkim import load_key, verify
from gatekeeper.mailauth.dkim_key import UnusableKey
from gatekeeper.mailauth.dmarc_record import confirmed, record_of
from gatekeeper.mailauth.spf import check_host, mail_from
from gatekeeper.mailauth.upstream import Upstream, results_by
from gatekeeper.message.charset import decode as decode_charset
from gatekeeper.message.content import content_of
from gatekeeper.message.header import author_of, date_of, header_of
from gatekeeper.message.html import read_html
from gatekeeper.message.linkify import links_in
from gatekeeper.message.lookalike import disguised, imitated, unicode_of
from gatekeeper.message.mime import mime_of
from gatekeeper.message.parameters import parse_parameterised
from gatekeeper.message.reading import read_message
from gatekeeper.message.style import Sheet, look_of
from gatekeeper.message.transfer import Encoding, undo
from gatekeeper.message.urls import parse_bare, parse_url
from gatekeeper.model import Address
from gatekeeper.records.queue_id import queue_id
from gatekeeper.servers.http_exchange import BodyCutOff, BodyTooLarge, ClientReader, Exchange
from gatekeeper.servers.rspamd import told
from gatekeeper.wire import auth_results, data, headers, list_lines, milter, milter_answers, openings, xclient
from gatekeeper.wire.address import AddressError, doubts_about, normal_domain, parse_mailbox, parse_path, told_mailbox
from gatekeeper.wire.commands import CommandError, parse_mail, parse_rcpt, split
from gatekeeper.wire.date import parse_date
from gatekeeper.wire.mailboxes import parse_address_list
from gatekeeper.wire.policy_request import PolicyError, RequestReader
from gatekeeper.wire.proxy import ProxyError, ProxyReader
from gatekeeper.wire.replies import ReplyError, ReplyReader, encode
from gatekeeper.wire.stuffing import Stuffer
from tests.fuzz.files import FILES
from tests.fuzz.target import Target
from tests.support.fake_resolver import FakeResolver

NOW = 1_790_000_000.0


def text_of(octets: bytes) -> str:
    """As the servers read a line: what is no UTF-8 survives."""
    return octets.decode("utf-8", "surrogateescape")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _awaited(made: Coroutine[Any, Any, object]) -> object:
    return _loop().run_until_complete(made)


def _pieces(octets: bytes) -> Iterator[bytes]:
    """Cut where its own octets say, so that the cuts are part of what is tried."""
    place = 0
    while place < len(octets):
        size = 1 + octets[place] % 64 if place < 256 else 4096
        yield octets[place : place + size]
        place += size


# --- DNS -------------------------------------------------------------------------------------------------------------

_ASKED = cast("bytes", packets.question("name.test", "TXT"))
_HEAD = b"id\x80\x80\0\1"


def _dns_answer(octets: bytes) -> None:
    """What follows the question; the counts of its records are the first octets'."""
    wire = _HEAD + octets[:6].ljust(6, b"\0") + _ASKED + octets[6:]
    for rtype in ("A", "TXT", "MX"):
        answer = packets.read(wire, _ASKED, "name.test", rtype)
        assert answer is None or bool(answer.records) == (answer.status is Status.OK)


# --- wire ------------------------------------------------------------------------------------------------------------


def _commands(octets: bytes) -> None:
    offered = frozenset({"SIZE", "8BITMIME", "SMTPUTF8", "DSN"})
    for line in octets.splitlines()[:50]:
        with contextlib.suppress(CommandError):
            command = split(line)
            with contextlib.suppress(CommandError):
                parse_mail(command.argument, offered)
            parse_rcpt(command.argument, offered, utf8=True)


def _address(octets: bytes) -> None:
    text = text_of(octets)
    normal_domain(text)
    told_mailbox(text)
    with contextlib.suppress(AddressError):
        parse_mailbox(text)
    with contextlib.suppress(AddressError):
        doubts_about(parse_path(text))


def _xclient(octets: bytes) -> None:
    for kind in xclient.Kind:
        with contextlib.suppress(xclient.BadAttribute):
            for value in xclient.decode(text_of(octets), kind=kind).values():
                assert value is None or "\r" not in value, value


def _message_data(octets: bytes) -> None:
    reader, stuffer = data.DataReader(), Stuffer()
    whole = b"".join(stuffer.feed(reader.feed(piece)) for piece in _pieces(octets)) + stuffer.finish()
    assert whole.count(b"\n") == whole.count(b"\r\n"), whole[:200]
    assert b"\r\n.\r\n" not in whole[:-5]


def _replies(octets: bytes) -> None:
    reader = ReplyReader()
    with contextlib.suppress(ReplyError):
        for piece in _pieces(octets):
            for reply in reader.feed(piece):
                queue_id(reply)
                assert encode(reply, passed_on=True).endswith(b"\r\n")


def _proxy(octets: bytes) -> None:
    reader = ProxyReader()
    with contextlib.suppress(ProxyError):
        for piece in _pieces(octets):
            if reader.feed(piece) is not None:
                return


def _milter(octets: bytes) -> None:
    reader = milter.PacketReader()
    with contextlib.suppress(milter.MilterError):
        for piece in _pieces(octets):
            for letter, content in reader.feed(piece):
                command = milter.decode(letter, content)
                if isinstance(command, milter.Negotiate):
                    milter_answers.agree(command)


def _milter_commands(octets: bytes) -> None:
    with contextlib.suppress(milter.MilterError):
        milter.decode(octets[:1], octets[1:])
    body = milter_answers.BodyText()
    whole = b"".join(body.feed(piece) for piece in _pieces(octets)) + body.end()
    assert whole.count(b"\n") == whole.count(b"\r\n")


def _policy_request(octets: bytes) -> None:
    reader = RequestReader()
    with contextlib.suppress(PolicyError):
        for piece in _pieces(octets):
            reader.receive(piece)
            while reader.next_request() is not None:
                pass


def _opening(octets: bytes) -> None:
    openings.other_protocol(octets)


def _headers(octets: bytes) -> None:
    header = headers.parse_header(octets)
    assert headers.field_count(octets) >= 0
    for each in header.fields[:50]:
        headers.decode_words(headers.unfold(each.value))


def _mailboxes(octets: bytes) -> None:
    for mailbox in parse_address_list(octets).mailboxes:
        assert "\n" not in mailbox.address.domain, mailbox


def _auth_results(octets: bytes) -> None:
    auth_results.read(octets)
    auth_results.authserv_id_of(octets)
    results_by(UPSTREAM, read_message(b"Authentication-Results: " + octets + b"\r\nReceived: x\r\n\r\n"))


UPSTREAM = Upstream(authserv_id="mx.upstream.example", clients=("192.0.2.0/24",), removes_forged=True)


def _list_line(octets: bytes) -> None:
    for line in text_of(octets).splitlines()[:50]:
        with contextlib.suppress(list_lines.BadLine):
            entry = list_lines.parse_line(line)
            if entry is not None:
                assert list_lines.parse_line(list_lines.write_line(entry)) is not None


# --- message ---------------------------------------------------------------------------------------------------------


def _message(octets: bytes) -> None:
    """All that a content check makes of one: header, MIME, charsets, HTML, links."""
    message = read_message(octets)
    header_of(message)
    author_of(message)
    date_of(message)
    mime_of(message)
    content_of(message)


def _html(octets: bytes) -> None:
    read_html(octets.decode("utf-8", "replace"))


def _style(octets: bytes) -> None:
    text = octets.decode("utf-8", "replace")
    Sheet().read(text)
    look_of(text)


def _text_links(octets: bytes) -> None:
    links_in(octets.decode("utf-8", "replace"))


def _url(octets: bytes) -> None:
    text = octets.decode("utf-8", "replace")
    parse_bare(text)
    url = parse_url(text)
    if url is not None:
        disguised(url.host)
        unicode_of(url.host)
        imitated(url.host, ["example.com", "bank.example"])


def _parameters(octets: bytes) -> None:
    parse_parameterised(headers.unfold(octets))
    parse_date(headers.unfold(octets))


def _charset(octets: bytes) -> None:
    name, _, rest = octets.partition(b"\n")
    decode_charset(rest, name.decode("latin-1"))


def _transfer(octets: bytes) -> None:
    for encoding in Encoding:
        assert len(undo(octets, encoding).octets) <= max(64, 2 * len(octets))


# --- mail authentication ---------------------------------------------------------------------------------------------


def _dkim(octets: bytes) -> None:
    """A key record, an empty line, and a message whose signatures name it."""
    record, _, raw = octets.partition(b"\n\n")
    resolver = FakeResolver({("s._domainkey.example.com", "TXT"): [record]})
    message = read_message(raw)
    _awaited(verify(message, resolver, now=NOW))
    _awaited(verify_arc(message, resolver, now=NOW, trusted=("example.com",)))


def _key_record(octets: bytes) -> None:
    with contextlib.suppress(UnusableKey):
        load_key(octets)


def _dmarc_record(octets: bytes) -> None:
    texts = octets.split(b"\n")[:20]
    record_of(texts)
    confirmed(texts)


def _spf(octets: bytes) -> None:
    """One record to a line, each including the next."""
    zone: dict[tuple[str, str], list[Any]] = {
        ("example.com" if n == 0 else f"s{n}.test", "TXT"): [b"v=spf1 " + line]
        for n, line in enumerate(octets.split(b"\n")[:12])
    }
    zone["mx.test", "A"] = ["192.0.2.9"]
    zone["example.com", "MX"] = [(10, "mx.test")]
    resolver = FakeResolver(zone)
    _awaited(check_host(resolver, mail_from(IPv4Address("192.0.2.1"), Address("a", "example.com"), "mx.example.com")))
    assert len(resolver.asked) <= 60, len(resolver.asked)


def _dmarc_reports(octets: bytes) -> None:
    """What comes back of our reports, and what is kept for them."""
    Deaths.told_by(octets)
    for read in (Row.of, Published.of):
        with contextlib.suppress(ValueError):
            read(octets.decode("utf-8", "replace"))


def _dns_list(octets: bytes) -> None:
    records = octets.decode("latin-1").split("\n")
    answer = judge(records, Codes.parse({"127.0.0.2": "A", "127.0.0.4-7": "B", "127.0.0.&8": "C"}))
    assert all(each.startswith("127.") for listing in answer.listed for each in listing.addresses)


# --- http ------------------------------------------------------------------------------------------------------------


class _Nowhere:
    def write(self, octets: bytes) -> None:
        """Nobody reads it."""


async def _exchange(octets: bytes) -> None:
    reader = ClientReader()
    for piece in _pieces(octets):
        reader.feed_data(piece)
    reader.feed_eof()
    exchange = Exchange(reader, cast("Any", _Nowhere()), private=True)
    with contextlib.suppress(h11.RemoteProtocolError, BodyTooLarge, BodyCutOff):
        request = await exchange.next_request()
        if request is not None:
            told([(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers])
            assert len(await exchange.body(10_000, taking=lambda _: None)) <= 10_000


def _http(octets: bytes) -> None:
    _awaited(_exchange(octets))


SIGNED = (
    b"v=DKIM1; k=rsa; p=" + base64.b64encode(b"0" * 90) + b"\n\nDKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple;"
    b" d=example.com; s=s;\r\n\th=From:Subject; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; l=10; t=1;\r\n\tb="
    b"aGVsbG8=\r\nARC-Seal: i=1; a=rsa-sha256; cv=none; d=example.com; s=s; b=aGVsbG8=\r\nARC-Message-Signature: i=1;"
    b" a=rsa-sha256; d=example.com; s=s; h=from; bh=x; b=aGVsbG8=\r\nARC-Authentication-Results: i=1; example.com;"
    b" dkim=pass header.d=a.example\r\nFrom: <a@example.com>\r\nSubject: x\r\n\r\nbody\r\n"
)
LETTER = (
    b"Received: from a (b [192.0.2.1]) by c with ESMTP; Mon, 02 Nov 2026 10:00:00 +0000\r\nFrom: =?utf-8?q?A_B?= "
    b'<a@example.com>, "c, d" <e@[IPv6:::1]>\r\nSubject: =?utf-8?b?4pyT?=\r\n hello\r\nMIME-Version: 1.0\r\n'
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-7\r\n'
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n+ADw-=20http://example.com/a?b=3Dc www.example.org\r\n--b\r\n"
    b"Content-Type: text/html; charset*=utf-8''x; name*0=\"a\r\n b\"; name*1=c\r\nContent-Transfer-Encoding: base64"
    b"\r\n\r\nPGEgaHJlZj0iaHR0cDovL2V4YW1wbGUuY29tIj54PC9hPg==\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject:"
    b" inner\r\n\r\ntext\r\n--b--\r\nepilogue\r\n"
)
PAGE = (
    b'<!doctype html><html><head><base href="http://a.example/"><style>.x{display:none;color:#fff}</style></head><body'
    b" bgcolor=white><a href='//b.example/&amp;x=%41'>http://c.example</a><img src=cid:1><!-- c --><script>x</script>"
    b'<div style="font-size:0;opacity:.0">hidden</div><form action="x"><meta http-equiv=refresh content="0;url=//d">'
)

TARGETS: dict[str, Target] = {
    "dns_answer": Target(
        _dns_answer,
        (
            b"\0\1\0\0\0\0\xc0\x0c\0\x10\0\1\0\0\1\x2c\0\4\3abc",
            b"\0\2\0\0\0\0\xc0\x0c\0\5\0\1\0\0\1\x2c\0\4\1b\xc0\x11\xc0\x27\0\x0f\0\1\0\0\1\x2c\0\4\0\5\xc0\x0c",
        ),
        most=4096,
    ),
    "commands": Target(
        _commands, (b"MAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME\r\n", b'RCPT TO:<@x:"a b"@[::1]>'), 8192
    ),
    "address": Target(
        _address, (b"<a@example.com>", b'"a\\"b"@[IPv6:::1]', b"<@a,@b:c@d>", "ä@ö.example".encode()), 4096
    ),
    "xclient": Target(
        _xclient, (b"ADDR=192.0.2.1 NAME=a+2Bb HELO=x PROTO=ESMTP PORT=25", b"ADDR=IPV6:::1 LOGIN=a"), 4096
    ),
    "message_data": Target(_message_data, (b"a\r\n..b\r\n.\r\n", b"\n.\n", b"\r\n.\n", b"a\rb\0")),
    "replies": Target(_replies, (b"250-a\r\n250 2.0.0 Ok: queued as ABC\r\n", b"550 5.1.1 <x>: no\r\n")),
    "proxy": Target(
        _proxy,
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\1\2\3\4\5\6\7\x08\0\1\0\x19"),
        8192,
    ),
    "milter": Target(
        _milter,
        (b"\0\0\0\x0dO\0\0\0\6\0\0\1\xff\0\x1f\xff\xff", b"\0\0\0\x0fCa\0" + b"4\0\x19192.0.2.1\0", b"\0\0\0\5Dj\0x\0"),
    ),
    "milter_commands": Target(
        _milter_commands, (b"LSubject\0 x\0", b"M<a@b>\0SIZE=1\0", b"Chost\x004\0\x191.2.3.4\0", b"Ba\nb")
    ),
    "policy_request": Target(
        _policy_request,
        (
            (
                b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=192.0.2.1\n"
                b"sender=a@b\nrecipient=c@d\ninstance=1.2\nsize=1\nencryption_protocol=TLSv1.3\n\n"
            ),
        ),
    ),
    "opening": Target(_opening, (b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"EHLO x\r\n"), 4096),
    "headers": Target(
        _headers, (LETTER.partition(b"\r\n\r\n")[0] + b"\r\n", b"a\r\n b: c\r\n: d\r\n", b"S: =?x?Q?=?=\r\n")
    ),
    "mailboxes": Target(
        _mailboxes, (b'"a, b" <c@d.example>, g: e@f, "h" <i@j>;, (k (l)) m@n', b"=?utf-8?q?a=40b?= <c@d>"), 8192
    ),
    "auth_results": Target(
        _auth_results,
        (b'mx.upstream.example 1; spf=pass (x (y)) smtp.mailfrom=a@b; dkim=fail/1 reason="z" header.d=e.example',),
    ),
    "list_line": Target(
        _list_line,
        (b"deny address 192.0.2.0/24 until 2027-01-31T10:00Z because it floods\n", b"exempt name *.a.example # x\n"),
        8192,
    ),
    "message": Target(_message, (LETTER, b"Content-Type: text/html\r\n\r\n" + PAGE, b"\r\nbegin 644 a\r\n"), 1 << 18),
    "html": Target(_html, (PAGE,)),
    "style": Target(_style, (b".a,#b{display:none;color:rgb(1,2,3)}@media x{.c{font-size:0}}", b"color:red;opacity:0")),
    "text_links": Target(_text_links, (b"see http://a.example/x), www.b.example. hxxp://c[.]d <mailto:e@f.example>",)),
    "url": Target(
        _url, (b"https://a:b@xn--bcher-kva.example:8080/p?q#f", b"http://0x7f.1/", b"//\xd0\xb0.example"), 8192
    ),
    "parameters": Target(
        _parameters,
        (b'text/plain; charset*0*=utf-8\'\'%41; charset*1=b; name="a\\"b" (c)', b"Mon, 2 Nov 2026 10:00:00 +0000"),
    ),
    "charset": Target(
        _charset, (b"utf-7\n+ADw-", b'iso-2022-jp\n\x1b$B$"\x1b(B', b"hz\n~{<:~}", b"utf-16\na\0", b"x\n\xff")
    ),
    "transfer": Target(_transfer, (b"=41=\r\n=zz", b"aGVsbG8=\r\n*", b"begin 644 a\r\n#0V%T\r\n`\r\nend\r\n")),
    "dkim": Target(_dkim, (SIGNED,)),
    "key_record": Target(
        _key_record, (b"v=DKIM1; k=rsa; h=sha256; t=s:y; p=aGVsbG8=", b"k=ed25519; p=" + b"A" * 43 + b"="), 8192
    ),
    "dmarc_record": Target(
        _dmarc_record,
        (b"v=DMARC1; p=reject; sp=none; np=quarantine; rua=mailto:a@b!10m,mailto:c; t=y; psd=n; adkim=s",),
        8192,
    ),
    "spf": Target(
        _spf,
        (b"ip4:192.0.2.0/24 include:s1.test mx/24//64 exists:%{i}.%{d2r-} -all\na:mx.test redirect=s2.test\nptr ?all",),
        8192,
    ),
    "dmarc_reports": Target(
        _dmarc_reports, (b"Action: failed\r\nMessage-ID: <202611270123456789abcdef.0@example.org>",)
    ),
    "dns_list": Target(_dns_list, (b"127.0.0.2\n127.0.0.9", b"127.255.255.254", b"::1"), 4096),
    "http": Target(
        _http,
        (
            b"POST /v1/check HTTP/1.1\r\nHost: x\r\nIP: 192.0.2.1\r\nFrom: a@b\r\nTo: c\r\nContent-Length: 2\r\n\r\nhi",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            b"PING RSPAMC/1.2\r\n\r\n",
        ),
    ),
    **FILES,
}
"""By the name under which it is run and its found cases are kept."""
