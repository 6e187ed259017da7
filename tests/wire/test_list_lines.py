"""One line of the operator's lists, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.list_lines import BadLine, ListEntry, about_of, parse_line, write_line, write_until

JAN_1 = 1_798_761_600.0  # 2027-01-01T00:00Z


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deny address 192.0.2.7", ListEntry("deny", "address", "192.0.2.7/32")),
        ("DENY Address 192.0.2.0/24", ListEntry("deny", "address", "192.0.2.0/24")),
        ("allow address 2001:DB8::/32", ListEntry("allow", "address", "2001:db8::/32")),
        ("deny address ::ffff:192.0.2.7", ListEntry("deny", "address", "192.0.2.7/32")),
        ("exempt name *.Outbound.Example.NET", ListEntry("exempt", "name", "*.outbound.example.net")),
        ("exempt name .example.net", ListEntry("exempt", "name", "*.example.net")),
        ("deny helo ylmf-pc", ListEntry("deny", "helo", "ylmf-pc")),
        ("deny helo [192.0.2.7]", ListEntry("deny", "helo", "[192.0.2.7]")),
        ("deny name dsl-*.example.net", ListEntry("deny", "name", "dsl-*.example.net")),
        ("allow sender Ann@Example.NET", ListEntry("allow", "sender", "ann@example.net")),
        ("allow sender <ann@example.net>", ListEntry("allow", "sender", "ann@example.net")),
        ("allow sender @bücher.example", ListEntry("allow", "sender", "@xn--bcher-kva.example")),
        ("allow sender *@example.net", ListEntry("allow", "sender", "@example.net")),
        ("deny sender news-*@example.net", ListEntry("deny", "sender", "news-*@example.net")),
        ("deny sender @*.example.net", ListEntry("deny", "sender", "@*.example.net")),
        ("deny recipient gone@example.org # a comment", ListEntry("deny", "recipient", "gone@example.org")),
        (
            "deny recipient gone@example.org because  it closed # 2026",
            ListEntry("deny", "recipient", "gone@example.org", reason="it closed # 2026"),
        ),
        (
            "deny address 192.0.2.7 until 2026-12-31 because floods",
            ListEntry("deny", "address", "192.0.2.7/32", reason="floods", until=JAN_1),
        ),
        ("deny address 192.0.2.7 until 2027-01-01T00:00", ListEntry("deny", "address", "192.0.2.7/32", until=JAN_1)),
        (
            "deny address 192.0.2.7 until 2027-01-01T01:00+01:00",
            ListEntry("deny", "address", "192.0.2.7/32", until=JAN_1),
        ),
        ("", None),
        ("   # nothing", None),
    ],
)
def test_a_line_is_read(line, expected):
    assert parse_line(line) == expected


@pytest.mark.parametrize(
    ("line", "mend"),
    [
        ("deny 192.0.2.7", "write ACTION ABOUT PATTERN"),
        ("block address 192.0.2.7", "write deny, allow or exempt"),
        ("deny adress 192.0.2.7", "write address, name, helo, sender or recipient"),
        ("deny address 192.0.2.7/24", "write 192.0.2.0/24 or 192.0.2.7"),
        ("deny address 192.0.2", "write 192.0.2.1, 192.0.2.0/24"),
        ("deny address 0.0.0.0/0", "everybody"),
        ("deny sender <>", "nobody or everybody"),
        ("deny sender @*", "nobody or everybody"),
        ("deny sender example.net", "@example.org for all of a domain"),
        ("deny sender a@b@c", "write user@example.org"),
        ("deny name not_a_name!", "write mail.example.net"),
        ("deny name *a*b*c*d*e", "more than 4 stars"),
        ("deny address 192.0.2.7 until tomorrow", "write 2027-01-31"),
        ("deny address 192.0.2.7 until 2027-02-30", "write 2027-01-31"),
        ("deny address 192.0.2.7 for ever", "write until DATE"),
        ("deny address 192.0.2.7 because", "write the reason"),
        ("deny address 192.0.2.7 because \x07", "printable"),
        ("deny address 192.0.2.7 because " + "x" * 201, "at most 200"),
        ("x" * 1001, "shorten"),
        ("deny address 192.0.2.7 until 9999-12-31", "too far away"),
    ],
)
def test_a_bad_line_names_its_mend(line, mend):
    with pytest.raises(BadLine) as wrong:
        parse_line(line)
    assert mend in str(wrong.value)


@pytest.mark.parametrize(
    ("text", "about"),
    [("192.0.2.7", "address"), ("2001:db8::/32", "address"), ("a@example.net", "sender"), ("mail.example.net", "name")],
)
def test_the_form_of_a_pattern_says_what_it_is_about(text, about):
    assert about_of(text) == about


def test_an_end_is_written_so_that_it_is_read_again():
    assert write_until(JAN_1) == "2027-01-01T00:00:00Z"


@given(
    st.one_of(
        st.text(max_size=200), st.from_regex(r"(deny|allow|exempt) (address|name|helo|sender|recipient) [!-~]{1,40}")
    )
)
def test_whatever_stands_there_is_an_entry_that_can_be_written_or_a_bad_line(text):
    try:
        entry = parse_line(text)
    except BadLine:
        return
    if entry is not None:
        assert parse_line(write_line(entry)) == entry


@given(st.text("*.a@", max_size=20))
def test_no_pattern_is_read_in_two_ways(text):
    for about in ("name", "sender"):
        try:
            entry = parse_line(f"deny {about} {text}")
        except BadLine:
            continue
        if entry is not None:
            assert parse_line(write_line(entry)) == entry
