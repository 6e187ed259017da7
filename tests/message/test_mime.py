"""How messages are taken apart; in pictures, as text with any line ends."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from email.message import Message as EmailMessage
from typing import NamedTuple
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.mime import LOOKED_THROUGH, PIECE, mime_of, parse_mime
from gatekeeper.message.parts import LIMITS, Ambiguity, LeftOut, Limits, Mime, Part
from gatekeeper.message.reading import read_message
from gatekeeper.wire.headers import parse_header
from tests.support.corpora import corpora
from tests.support.cost import costs_of, growth_of
from tests.support.mail import message_of

ALTERNATIVE = """\
Content-Type: multipart/mixed; boundary="o"

preamble
--o
Content-Type: multipart/alternative; boundary=i

--i
Content-Type: text/plain

plain
--i
Content-Type: text/html
Content-Transfer-Encoding: quoted-printable

<p>ht=6Dl</p>
--i--
between
--o
Content-Type: application/pdf; name=a.pdf
Content-Disposition: attachment; filename="b.pdf"
Content-Transfer-Encoding: base64

aGVsbG8=
--o--
epilogue
"""


def tree(mime: Mime) -> list[tuple[str, str, int]]:
    return [(part.number, part.media, part.reading) for part in mime.parts]


def read(raw: str | bytes, limits: Limits = LIMITS) -> Mime:
    message = message_of(raw)
    return parse_mime(parse_header(message.header), b"".join(message.body.chunks()), limits)


def shown(mime: Mime) -> list[str]:
    return [part.text(10_000) for part in mime.leaves]


def test_a_tree_of_parts_is_read():
    mime = read(ALTERNATIVE)
    assert tree(mime) == [
        ("", "multipart/mixed", 0),
        ("1", "multipart/alternative", 0),
        ("1.1", "text/plain", 0),
        ("1.2", "text/html", 0),
        ("2", "application/pdf", 0),
    ]
    assert shown(mime) == ["plain", "<p>html</p>", "hello"]
    assert mime.parts[4].names == ("b.pdf", "a.pdf")
    assert mime.parts[4].disposition == "attachment"
    assert (mime.ambiguities, mime.left_out, mime.ambiguous) == ((), (), False)


def test_a_message_without_a_type_is_plain_text():
    mime = read("Subject: x\n\ntext\n")
    assert [(part.media, part.text(100)) for part in mime.parts] == [("text/plain", "text\r\n")]


def test_a_message_inside_a_message_is_read():
    mime = read("Content-Type: message/rfc822\n\nSubject: in\nContent-Type: text/html\n\n<p>\n")
    assert tree(mime) == [("", "message/rfc822", 0), ("1", "text/html", 0)]
    assert mime.parts[1].header.first("subject") is not None


def test_a_message_that_is_encoded_is_decoded_in_the_first_reading_and_read_as_it_is_in_another():
    inner = base64.encodebytes(b"Content-Type: text/html\r\n\r\n<p>").decode()
    mime = read(f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{inner}")
    first = [each for each in tree(mime) if not each[2]]
    assert first == [("", "message/rfc822", 0), ("1", "text/html", 0)]
    assert "<p>" in shown(mime)
    as_it_is = read("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nA: b\n\ntext\n")
    assert "text\r\n" in shown(as_it_is)
    assert all(part.reading for part in as_it_is.leaves if part.text(100) == "text\r\n")


def test_parts_of_a_digest_are_messages():
    mime = read("Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\nt\n--b--\n")
    assert tree(mime)[1:] == [("1", "message/rfc822", 0), ("1.1", "text/plain", 0)]


def test_mime_is_read_once():
    message = message_of(ALTERNATIVE)
    assert mime_of(message) is mime_of(message)


@pytest.mark.parametrize(
    ("raw", "ambiguity", "texts"),
    [
        (  # the first Content-Type, and the last
            "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhidden\n--b--\n",
            Ambiguity.CONTENT_TYPES,
            ["--b\r\n\r\nhidden\r\n--b--\r\n", "hidden"],
        ),
        (
            "Content-Type : multipart/mixed; boundary=b\n\n--b\n\nhidden\n--b--\n",
            Ambiguity.CONTENT_TYPES,
            ["hidden", "--b\r\n\r\nhidden\r\n--b--\r\n"],
        ),
        (
            "Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\none\n--b\n\ntwo\n--b--\n--a--\n",
            Ambiguity.BOUNDARIES,
            ["one\r\n--b\r\n\r\ntwo\r\n--b--", "two"],
        ),
        (
            "Content-Type: multipart/mixed; boundary=a; boundary*=''b\n\n--a\n\none\n--b\n\ntwo\n--b--\n--a--\n",
            Ambiguity.BOUNDARIES,
            ["two", "one\r\n--b\r\n\r\ntwo\r\n--b--"],
        ),
        (
            "Content-Type: multipart/mixed\n\n--x\n\nguessed\n--x--\n",
            Ambiguity.BOUNDARY_MISSING,
            ["guessed"],
        ),
        (
            "Content-Type: multipart/mixed; boundary=zz\n\nno such line\n",
            Ambiguity.BOUNDARY_UNUSED,
            ["no such line\r\n"],
        ),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--bc\n\ntwo\n--b--\n",
            Ambiguity.BOUNDARY_PREFIX,
            ["one\r\n--bc\r\n\r\ntwo", "one", "two"],
        ),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n--b\n\ntwo\n",
            Ambiguity.TERMINATOR_EARLY,
            ["one", "two\r\n"],
        ),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n",
            Ambiguity.TERMINATOR_MISSING,
            ["one\r\n"],
        ),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nno field\nContent-Type: text/html\n\n<p>\n--b--\n",
            Ambiguity.HEADER_BROKEN,
            ["<p>", "no field\r\nContent-Type: text/html\r\n\r\n<p>"],
        ),
        (
            "Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit\n\naGVsbG8=\n",
            Ambiguity.ENCODINGS,
            ["hello", "aGVsbG8=\r\n"],
        ),
        (
            "Content-Transfer-Encoding: 'base64'\n\naGVsbG8=\n",
            Ambiguity.ENCODING_UNKNOWN,
            ["hello", "aGVsbG8=\r\n"],
        ),
        (
            "Content-Transfer-Encoding: base64\nContent-Type: multipart/x;boundary=b\n\nLS1iDQoNCmluc2lkZQ0KLS1iLS0K\n",
            Ambiguity.ENCODED_MULTIPART,
            ["inside"],
        ),
        (
            "Content-Type: multipart/x; boundary=b\n\n--b\nContent-Type: multipart/x; boundary=b\n\n--b\n\nin\n",
            Ambiguity.BOUNDARY_NESTED,
            None,
        ),
    ],
)
def test_every_reading_that_a_program_would_take_is_read(raw, ambiguity, texts):
    mime = read(raw)
    assert ambiguity in mime.ambiguities
    if texts is not None:
        found = shown(mime)
        assert [text for text in texts if text not in found] == []


def test_a_header_that_breaks_off_is_read_in_both_ways():
    mime = read("Subject: x\nno field\nContent-Type: text/html\n\n<p>\n")
    assert Ambiguity.HEADER_BROKEN in mime.ambiguities
    assert {part.media for part in mime.parts} == {"text/html", "text/plain"}


@pytest.mark.parametrize(
    ("raw", "left_out", "limits"),
    [
        (
            "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * 20_000,
            LeftOut.PARTS,
            LIMITS,
        ),
        (
            "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(300)),
            LeftOut.DEPTH,
            LIMITS,
        ),
        ("Content-Type: message/rfc822\n\n" * 100, LeftOut.DEPTH, LIMITS),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nX: " + "x" * 70_000 + "\n\nx\n--b--\n",
            LeftOut.HEADER,
            LIMITS,
        ),
        ("Content-Type: multipart/mixed; boundary=b\n\n" + "--\n" * 50_000, LeftOut.DELIMITERS, LIMITS),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n" + "".join(f"--b{n}\n" for n in range(LOOKED_THROUGH + 2)),
            LeftOut.DELIMITERS,
            LIMITS,
        ),
        ("\n" + "x" * 100, LeftOut.BODY, Limits(body=50)),
        (
            "".join(f"Content-Type: text/x{n}\n" for n in range(9)) + "Content-Transfer-Encoding: 'base64'\n\nx\n",
            LeftOut.READINGS,
            LIMITS,
        ),
    ],
)
def test_budgets_are_kept_and_said(raw, left_out, limits):
    mime = read(raw, limits)
    assert left_out in mime.left_out
    assert len(mime.parts) <= limits.parts


def test_any_number_of_other_lines_hides_no_line_that_begins_with_a_boundary():
    others = "".join(f"--a{n}\n--c{n}\n" for n in range(2000))
    mime = read(f"Content-Type: multipart/mixed; boundary=b\n\n{others}--b\n\none\n--bc\n\ntwo\n--b--\n")
    assert Ambiguity.BOUNDARY_PREFIX in mime.ambiguities
    assert {"one", "two"} < set(shown(mime))
    assert not mime.left_out


def test_a_boundary_that_is_not_named_is_guessed_inside_its_part():
    parts = (
        "--a\nContent-Type: multipart/mixed\n\n--\n--x\n\nguessed\n--x--\n--a\nContent-Type: multipart/mixed\n\n--\nq\n"
    )
    mime = read(f"Content-Type: multipart/mixed; boundary=a\n\n--y\n{parts}--a--\n")
    assert shown(mime) == ["guessed", "--\r\nq"]


def test_readings_do_not_multiply():
    nested = "".join(
        f"xx\nContent-Type: multipart/mixed; boundary=b{n}\nContent-Type: multipart/mixed; boundary=c{n}\n\n--b{n}\n"
        for n in range(500)
    )
    mime = read("Content-Type: multipart/mixed; boundary=a\n\n--a\n" + nested)
    assert sum(part.reading > 0 for part in mime.parts) <= LIMITS.others


PIECES = st.sampled_from(
    [
        "--b\r\n",
        "--b--\r\n",
        "--bb\r\n",
        "\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n",
        "Content-Type: multipart/mixed; boundary=bb; boundary*=b\r\n",
        "Content-Type: message/rfc822\r\n",
        "Content-Type: text/html\r\n",
        "Content-Type\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Transfer-Encoding: quoted-printable\r\n",
        " folded\r\n",
        "text =3D =\r\n",
        "aGVsbG8=\r\n",
        "\xff\r\n",
    ]
)


@given(st.lists(PIECES, max_size=40))
def test_whatever_comes_is_read_and_every_part_lies_within(pieces):
    raw = "".join(pieces).encode("latin-1")
    message = read_message(raw)
    mime = mime_of(message)
    assert mime.parts
    for part in mime.parts:
        assert len(part.octets) <= max(len(raw), LIMITS.text)
        assert part.depth == (part.number.count(".") + 1 if part.number else 0)
        part.text(1000, {})


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_any_octets_are_read(header, body):
    for part in parse_mime(parse_header(header), body).parts:
        part.text(1000, {})


def test_blanks_at_the_end_of_a_boundary_hide_no_terminator():
    mime = read('Content-Type: multipart/mixed; boundary="b  "\n\n--b  \n\none\n--b  --\nepilogue\n')
    assert shown(mime) == ["one"]
    assert not mime.ambiguities


BOMBS: dict[str, Callable[[int], bytes]] = {
    "parts": lambda n: b"--b\r\n\r\nx\r\n" * n,
    "lines": lambda n: b"--\r\n" * n,
    "other lines": lambda n: b"".join(b"--%d\r\n" % i for i in range(n)),
    "longer": lambda n: b"".join(b"--b%d\r\n\r\n" % i for i in range(n)),
    "nested": lambda n: b"".join(b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" for i in range(n)),
    "broken": lambda n: b"--b\r\nxx\r\nA: b\r\n\r\n" * n,
    "one line": lambda n: b"--b\r\n\r\n" + b"QUJD" * n * 10,
    "headers": lambda n: b"--b\r\n" + b"A: b\r\n" * n,
}


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
def test_cost_grows_with_the_size_alone(bomb):
    header = parse_header(b"Content-Type: multipart/mixed; boundary=b\r\n")
    small, large = costs_of(lambda n: parse_mime(header, BOMBS[bomb](n)), 5_000, 20_000)
    assert large < 8 * small + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("content", ["multipart/x", "multipart/x; boundary=b; boundary=c; boundary=d; boundary=e"])
def test_cost_does_not_grow_with_parts_times_lines(content):
    header = parse_header(b"Content-Type: multipart/mixed; boundary=z\r\n")
    part = f"--z\r\nContent-Type: {content}\r\n\r\nq\r\n".encode()

    def parse(n: int) -> Mime:
        return parse_mime(header, b"".join(b"--bb%d\r\n" % i for i in range(8 * n)) + part * n + b"--z--\r\n")

    assert growth_of(parse, 115) < 3


@pytest.mark.slow
def test_torture_tests_of_all_projects_are_read_within_their_budgets():
    root = corpora("mime")
    read_count = 0
    for path in root.rglob("*"):
        if not path.is_file():
            continue
        noted: dict[Ambiguity, None] = {}
        message = read_message(path.read_bytes())
        mime = mime_of(message)
        assert 1 <= len(mime.parts) <= LIMITS.parts
        for part in mime.leaves:
            part.text(1_000_000, noted)
        read_count += 1
    assert read_count > 500


BODIES_OTHERWISE = {
    "malformedHeaderStartsBody-nocrlfcrlf": "there a line that looks like a field is lost; here it is kept",
    "malformedHeaderStartsBody-noheader": "there the second line is lost; here it is kept",
    "weird-boundary": "there blanks at the end of a boundary count; most programs pass over them",
    "very-long-boundary": "the same",
    "very-very-long-boundary": "a boundary longer than any line may be is no boundary here",
}
"""Messages that mime4j reads in a way that is not among ours, and why."""

_NO_PART = "no line there is the boundary, and there is no part; programs show what stands there as text, and so do we"
PARTS_OTHERWISE = {
    "badbound": _NO_PART,
    "missing-boundary": _NO_PART,
    "missing-inner-boundary": _NO_PART,
    "missing-inner-start-boundary": _NO_PART,
    "multipartnopart": _NO_PART,
    "ending-boundaries": "lines that begin with the boundary and go on are another reading here, and one that begins "
    "as the last one does ends nothing, so that what is behind it is read too",
    "weird-boundary": BODIES_OTHERWISE["weird-boundary"],
    "very-long-boundary": BODIES_OTHERWISE["weird-boundary"],
}
"""Messages whose first reading is of other parts, in number, nesting or type."""

_NO_FIELD = "there a line that is no field is lost; here it stands among the fields, with what is wrong with it"
FIELDS_OTHERWISE = {
    "basic-plain-with-bad-header-separator": _NO_FIELD,
    "hdr-fakeout": _NO_FIELD,
    "malformedHeader-nocrlfcrlf": _NO_FIELD,
    "malformedHeader-noheader": _NO_FIELD,
    "malformedHeaderStartsBody-nocrlfcrlf": _NO_FIELD,
    "malformedHeaderStartsBody-noheader": _NO_FIELD,
    "obsolete": _NO_FIELD,
    "very-very-long-boundary": "a multipart without a boundary is one text here, under its own header",
}
"""Messages where a part of the first reading has other header fields."""


class Expected(NamedTuple):
    """A part as mime4j read it; `fields` and `body` without blanks."""

    number: str
    media: str
    fields: list[str]
    body: str


def expected_parts(tree: Element, number: str = "", untyped: str = "text/plain") -> Iterator[Expected]:
    fields = [field.text or "" for field in tree.iterfind("header/field")]
    typed = EmailMessage()
    typed.set_default_type(untyped)
    for field in fields:
        name, _, value = field.partition(":")
        if name.strip().lower() == "content-type" and "content-type" not in typed:
            typed["Content-Type"] = value.strip()
    [inside] = [each for each in tree if each.tag in {"body", "multipart", "message"}]
    media = typed.get_content_type()
    assert (inside.tag if inside.tag != "body" else "") == (media.partition("/")[0] if _holds_parts(media) else "")
    body = _squeezed(inside.text or "") if inside.tag == "body" else ""
    yield Expected(number, media, [_squeezed(field) for field in fields], body)
    parts = [inside] if inside.tag == "message" else inside.iterfind("body-part")
    for n, part in enumerate(parts, 1):
        of = "message/rfc822" if media == "multipart/digest" else "text/plain"
        yield from expected_parts(part, f"{number}.{n}".lstrip("."), of)


def _holds_parts(media: str) -> bool:
    return media.startswith("multipart/") or media == "message/rfc822"


def _tree(document: bytes) -> Element:
    try:
        return ET.fromstring(document)
    except ET.ParseError:  # two of them are not in UTF-8
        return ET.fromstring(document.decode("latin-1"))


def test_an_expected_tree_of_mime4j_is_understood():
    text = "<body-part><header><field>Content-Type: text/HTML; a=b</field></header><body>a\nb</body></body-part>"
    digest = "<header><field>content-type: multipart/digest</field></header>"
    inner = "<body-part><header/><message><header/><body/></message></body-part>"
    tree = _tree(f"<message>{digest}<multipart><preamble>x</preamble>{inner}{text}</multipart></message>".encode())
    assert [(each.number, each.media, each.body) for each in expected_parts(tree)] == [
        ("", "multipart/digest", ""),
        ("1", "message/rfc822", ""),
        ("1.1", "text/plain", ""),
        ("2", "text/html", "ab"),
    ]


def test_what_mime4j_expects_is_among_our_readings():
    folder = corpora("mime") / "apache__james-mime4j"
    compared = 0
    bodies_missed, parts_differ, fields_differ, bodies_differ = set(), set(), set(), set()
    for document in folder.rglob("*.xml"):
        message = document.with_suffix(".msg")
        if not message.is_file():
            continue
        name, compared = message.stem, compared + 1
        expected = list(expected_parts(_tree(document.read_bytes())))
        mime = mime_of(read_message(message.read_bytes()))
        if not {part.body for part in expected if part.body} <= {_squeezed(_raw(part)) for part in mime.parts}:
            bodies_missed.add(name)
        first = [part for part in mime.parts if part.reading == 0]
        if [(part.number, part.media) for part in expected] != [(part.number, part.media) for part in first]:
            parts_differ.add(name)
        there = {part.number: part for part in first}
        for part in expected:
            ours = there.get(part.number)
            if ours is None:
                continue
            if part.fields != [_squeezed(field.raw.decode("latin-1")) for field in ours.header.fields]:
                fields_differ.add(name)
            if not ours.container and part.body != _squeezed(_raw(ours)):
                bodies_differ.add(name)
    assert compared >= 80
    assert bodies_missed == set(BODIES_OTHERWISE)
    assert parts_differ == set(PARTS_OTHERWISE)
    assert fields_differ == set(FIELDS_OTHERWISE)
    assert bodies_differ == set(BODIES_OTHERWISE)  # in its place too, and not only somewhere


def _raw(part: Part) -> str:
    return bytes(part.octets).decode("latin-1")


def _squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("before", [0, PIECE - 8, PIECE - 6, PIECE - 5, PIECE - 4, PIECE - 3, PIECE, 3 * PIECE])
def test_boundaries_are_found_wherever_the_pieces_that_are_searched_end(before):
    mime = read("Content-Type: multipart/mixed; boundary=b\n\n" + "x" * before + "\n--b\n\none\n--b--\n")
    assert [part.number for part in mime.parts] == ["", "1"]
