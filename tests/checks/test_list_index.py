"""Which line of the operator's lists a mail meets first."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.checks.list_index import ListIndex
from gatekeeper.wire.list_lines import ABOUT, ListEntry, parse_line

ALL = frozenset(ABOUT)


def index(*lines: str) -> ListIndex:
    entries = [parse_line(line, str(n)) for n, line in enumerate(lines)]
    return ListIndex([entry for entry in entries if entry is not None])


def met(made: ListIndex, *, now: float = 0.0, known: frozenset[str] = ALL, **facts: str) -> str | None:
    """The number of the line."""
    given = {about: ip_address(value) if about == "address" else value for about, value in facts.items()}
    found = made.first(given, now=now, known=known)
    return None if found is None else found.entry.place


@pytest.mark.parametrize(
    ("line", "facts", "is_met"),
    [
        ("deny address 192.0.2.7", {"address": "192.0.2.7"}, True),
        ("deny address 192.0.2.7", {"address": "192.0.2.8"}, False),
        ("deny address 192.0.2.0/24", {"address": "192.0.2.255"}, True),
        ("deny address 2001:db8::/32", {"address": "2001:db8:1::1"}, True),
        ("deny address 2001:db8::/32", {"address": "192.0.2.7"}, False),
        ("deny name mail.example.net", {"name": "mail.example.net"}, True),
        ("deny name mail.example.net", {"name": "x.mail.example.net"}, False),
        ("deny name *.example.net", {"name": "a.b.example.net"}, True),
        ("deny name *.example.net", {"name": "example.net"}, False),
        ("deny name *.example.net", {"name": "badexample.net"}, False),
        ("deny name dsl-*.example.net", {"name": "dsl-7.example.net"}, True),
        ("deny name *example*", {"name": "my.example.net"}, True),
        ("deny name mail.example.net", {"helo": "mail.example.net"}, False),
        ("deny helo [192.0.2.7]", {"helo": "[192.0.2.7]"}, True),
        ("deny sender ann@example.net", {"sender": "ann@example.net"}, True),
        ("deny sender ann@example.net", {"sender": "bob@example.net"}, False),
        ("deny sender @example.net", {"sender": "bob@example.net"}, True),
        ("deny sender @example.net", {"sender": "bob@x.example.net"}, False),
        ("deny sender @*.example.net", {"sender": "bob@x.example.net"}, True),
        ("deny sender news-*@example.net", {"sender": "news-7@example.net"}, True),
        ("deny sender news-*@example.net", {"sender": "news-7@x@example.net"}, False),
        ("deny sender *@spam*.example", {"sender": "x@spammer.example"}, True),
        ("deny recipient ann@example.org", {"recipient": "ann@example.org"}, True),
        ("deny recipient ann@example.org", {"sender": "ann@example.org"}, False),
    ],
)
def test_a_line_is_met(line, facts, is_met):
    assert (met(index(line), **facts) is not None) == is_met


def test_the_first_line_counts():
    lines = "allow address 192.0.2.7", "deny address 192.0.2.0/24", "deny sender @example.net"
    assert met(index(*lines), address="192.0.2.7", sender="a@example.net") == "0"
    assert met(index(*lines[::-1]), address="192.0.2.7", sender="a@example.net") == "0"
    assert met(index(*lines), address="192.0.2.8") == "1"


def test_a_line_that_has_ended_is_as_if_it_did_not_stand_there():
    lines = "allow address 192.0.2.7 until 2026-12-31", "deny address 192.0.2.0/24"
    end = 1_798_761_600.0
    assert met(index(*lines), now=end - 1, address="192.0.2.7") == "0"
    assert met(index(*lines), now=end, address="192.0.2.7") == "1"


def test_it_is_final_only_when_nothing_unknown_could_bring_an_earlier_line():
    made = index("deny recipient gone@example.org", "allow address 192.0.2.7")
    address = {"address": ip_address("192.0.2.7")}
    at_mail = made.first(address, now=0.0, known=ALL - {"recipient"})
    assert at_mail is not None
    assert not at_mail.final
    at_rcpt = made.first(address, now=0.0, known=ALL)
    assert at_rcpt is not None
    assert at_rcpt.final
    assert made.has("recipient")
    assert not made.has("helo")


def test_what_may_not_count_is_passed_over():
    made = index("allow sender @example.net", "deny address 192.0.2.7")
    found = made.first(
        {"address": ip_address("192.0.2.7"), "sender": "a@example.net"},
        now=0.0,
        known=ALL,
        usable=lambda entry: entry.about != "sender",
    )
    assert found is not None
    assert found.entry.place == "1"


names = st.from_regex(r"\A([ab]{1,2}\.){0,2}[ab]{1,2}\Z")
patterns = st.from_regex(r"\A(\*\.)?([ab*]{1,2}\.){0,2}[ab]{1,2}\Z")


@given(st.lists(patterns, max_size=8), names)
def test_it_agrees_with_trying_one_line_after_another(some, name):
    entries = [ListEntry("deny", "name", pattern, str(n)) for n, pattern in enumerate(some) if pattern.count("*") < 5]
    found = ListIndex(entries).first({"name": name}, now=0.0, known=ALL)
    slowly = next((e for e in entries if ListIndex([e]).first({"name": name}, now=0.0, known=ALL)), None)
    assert (found.entry if found else None) == slowly


@given(st.lists(st.integers(0, 32), max_size=6), st.integers(0, 2**32 - 1))
def test_networks_agree_with_trying_one_after_another(lengths, number):
    networks = [ip_network((0xC0000200, length), strict=False) for length in lengths if length]
    entries = [ListEntry("deny", "address", str(network)) for network in networks]
    found = ListIndex(entries).first({"address": ip_address(number)}, now=0.0, known=ALL)
    slowly = next((str(n) for n in networks if ip_address(number) in n), None)
    assert (found.entry.pattern if found else None) == slowly


LINES = [
    "deny address 192.0.2.7",
    "allow name *.example.net",
    "deny sender @example.net",
    "exempt recipient ann@example.org",
    "deny address 192.0.2.0/24 until 2001-01-01",
]
FACTS = {"address": "192.0.2.7", "name": "a.example.net", "sender": "bob@example.net", "recipient": "ann@example.org"}


@given(
    st.lists(st.sampled_from(LINES), max_size=5),
    st.integers(0, 5),
    st.sets(st.sampled_from(ABOUT)),
    st.sets(st.sampled_from(ABOUT)),
)
def test_an_index_behind_another_is_met_like_one_of_all_lines(lines, cut, told, known):
    entries = index(*lines).entries
    whole, both = ListIndex(entries), ListIndex(entries[:cut], ListIndex(entries[cut:]))
    facts = {
        about: ip_address(FACTS[about]) if about == "address" else FACTS[about] for about in told if about in FACTS
    }
    for now in (0.0, 2_000_000_000.0):
        assert both.first(facts, now=now, known=frozenset(known)) == whole.first(facts, now=now, known=frozenset(known))
    assert both.entries == whole.entries
    assert (len(both), both.later_actions) == (len(whole), whole.later_actions)
    assert [both.has(about) for about in ABOUT] == [whole.has(about) for about in ABOUT]


def test_what_an_address_alone_does_not_meet_is_known_without_a_look_at_each_line():
    assert index(*LINES[:1]).later_actions == frozenset()
    assert index(*LINES).later_actions == {"allow", "deny", "exempt"}
