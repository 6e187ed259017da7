from typing import Any, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.dns import packets
from gatekeeper.dns.answer import Answer, Status
from gatekeeper.dns.packets import MOST_LABELS, PAYLOAD, answers_to, packet, shuffled


def question(name: str, rtype: str) -> Any:
    return packets.question(name, rtype)


def read(*given: Any) -> Any:
    return packets.read(*given)


ASKED = question("name.test", "A")
HEAD = b"id\x80\x80\0\1"


def answer_to(
    name: str, rtype: str, *records: tuple[str, str, str], code: dns.rcode.Rcode = dns.rcode.NOERROR
) -> bytes:
    """Of records as (owner, type, text), all with a TTL of their number from 10 on."""
    query = dns.message.make_query(name, rtype, use_edns=0)
    response = dns.message.make_response(query)
    response.set_rcode(code)
    for number, (owner, kind, text) in enumerate(records):
        response.answer.append(dns.rrset.from_text(f"{owner}.", 10 + number, "IN", kind, text))
    return response.to_wire()


def read_of(wire: bytes, name: str, rtype: str) -> Any:
    asked = question(name, rtype)
    assert answers_to(wire, asked)
    return read(wire, asked, name, rtype)


@pytest.mark.parametrize("rtype", ["A", "AAAA", "TXT", "MX", "PTR", "NS", "CNAME"])
def test_a_question_is_what_others_read_out_of_it(rtype):
    message = dns.message.from_wire(packet(b"\1\2", question("_a.b-c.test", rtype)))
    assert (message.id, message.edns, message.payload) == (0x0102, 0, PAYLOAD)
    assert message.flags == dns.flags.RD
    (asked,) = message.question
    assert (asked.name.to_text(), dns.rdatatype.to_text(asked.rdtype)) == ("_a.b-c.test.", rtype)


def test_of_another_type_there_is_no_plain_question():
    assert question("name.test", "SOA") is None


@given(st.binary(min_size=len(ASKED), max_size=len(ASKED)))
def test_letters_change_their_case_and_nothing_else_does(dice):
    asked = shuffled(ASKED, dice)
    assert asked.lower() == ASKED
    assert asked[-5:] == ASKED[-5:]
    assert sum(a != b for a, b in zip(asked, ASKED, strict=True)) <= len("nametest")


def test_every_letter_can_be_upper_case():
    assert shuffled(ASKED, b"\xff" * len(ASKED)) == ASKED[:-5].upper() + ASKED[-5:]


@pytest.mark.parametrize(
    ("wire", "whose"),
    [
        (HEAD + b"\0" * 6 + ASKED, True),
        (HEAD + b"\0" * 6 + shuffled(ASKED, b"\xff" * len(ASKED)), False),
        (HEAD + b"\0" * 6 + question("name.test", "AAAA"), False),
        (HEAD + b"\0" * 6 + question("other.test", "A"), False),
        (HEAD + b"\0" * 6 + ASKED[:-1], False),
        (b"id\0\x80\0\1" + b"\0" * 6 + ASKED, False),  # a question
        (b"id\x88\x80\0\1" + b"\0" * 6 + ASKED, False),  # another opcode
        (b"id\x80\x80\0\2" + b"\0" * 6 + ASKED, False),  # to two questions
        (b"id\x80\x80\0\0" + b"\0" * 6 + ASKED, False),  # to none
        (b"", False),
    ],
)
def test_an_answer_is_to_one_question_letter_by_letter(wire, whose):
    assert answers_to(wire, ASKED) is whose


@pytest.mark.parametrize(
    ("rtype", "text", "record"),
    [
        ("A", "192.0.2.1", "192.0.2.1"),
        ("AAAA", "2001:DB8::1", "2001:db8::1"),
        ("TXT", '"v=spf1 " "-all"', b"v=spf1 -all"),
        ("TXT", '""', b""),
        ("MX", "10 Mail.Example.", (10, "mail.example")),
        ("MX", "0 .", (0, "")),
        ("PTR", "Host.Example.", "host.example"),
        ("NS", "NS1.name.test.", "ns1.name.test"),
        ("CNAME", "Other.Example.", "other.example"),
    ],
)
def test_records_come_as_their_type_says(rtype, text, record):
    wire = answer_to("name.test", rtype, ("NAME.test", rtype, text))
    assert read_of(wire, "name.test", rtype) == Answer(Status.OK, (record,), 10.0)


def test_a_chain_of_aliases_lives_as_long_as_its_shortest_part_whatever_its_order():
    chain = [("name.test", "CNAME", "b.test."), ("b.test", "CNAME", "c.test."), ("c.test", "A", "192.0.2.1")]
    found = Answer(Status.OK, ("192.0.2.1",), 10.0)
    assert read_of(answer_to("name.test", "A", *chain), "name.test", "A") == found
    assert read_of(answer_to("name.test", "A", *chain[::-1]), "name.test", "A") == found


@pytest.mark.parametrize(
    ("records", "code", "status"),
    [
        ((), 0, Status.NODATA),
        ((), 3, Status.NXDOMAIN),
        ((), 2, Status.REFUSED),
        ((), 4, Status.REFUSED),
        ((), 5, Status.REFUSED),
        ([("name.test", "CNAME", "gone.test.")], 3, Status.NXDOMAIN),
        ([("name.test", "CNAME", "b.test.")], 0, Status.NODATA),
        ([("other.test", "A", "192.0.2.1")], 0, Status.NONSENSE),
        ([("name.test", "TXT", '"x"')], 0, Status.NONSENSE),
        ([("name.test", "CNAME", "b.test."), ("b.test", "CNAME", "name.test.")], 0, Status.NONSENSE),
    ],
)
def test_no_records_are_told_apart(records, code, status):
    assert read_of(answer_to("name.test", "A", *records, code=dns.rcode.Rcode(code)), "name.test", "A") == Answer(
        status
    )


def test_of_more_answers_than_were_asked_for_only_those_to_the_question_count():
    records = [(f"n{number}.test", "A", "192.0.2.66") for number in range(30)]
    wire = answer_to("name.test", "A", *records, ("name.test", "A", "192.0.2.1"), ("name.test", "TXT", '"x"'))
    assert read_of(wire, "name.test", "A").records == ("192.0.2.1",)


A_RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4\xc0\0\2\1"
OPT = b"\0\0)\x04\xd0\0\0\0\0\0\0"


def wire_of(*records: bytes, flags: bytes = b"\x80\x80", additional: bytes = b"") -> Any:
    counts = bytes((0, 1, 0, len(records), 0, 0, 0, bool(additional)))
    return b"id" + flags + counts + ASKED + b"".join(records) + additional


@pytest.mark.parametrize(
    "wire",
    [
        wire_of(A_RECORD, flags=b"\x82\x80"),  # cut short
        wire_of(flags=b"\x80\x81"),  # FORMERR: it may know no EDNS
        wire_of(flags=b"\x80\x86"),
        wire_of(additional=b"\0\0)\x04\xd0\1\0\0\0\0\0"),  # BADVERS, whose lower half is NOERROR
        wire_of(A_RECORD)[:-1],
        wire_of(A_RECORD) + b"x",
        wire_of(A_RECORD.replace(b"\0\1\0\1", b"\0\1\0\3")),  # another class
        wire_of(A_RECORD.replace(b"\0\0\0\x0a", b"\x80\0\0\x0a")),  # a TTL below zero
        wire_of(A_RECORD[:-1].replace(b"\0\4\xc0", b"\0\3\xc0")),  # an address of three octets
        wire_of(b"\xc0\x1b" + A_RECORD[2:]),  # a pointer to itself
        wire_of(b"\xc0\x40" + A_RECORD[2:]),  # a pointer ahead
        wire_of(b"\xc0\0" + A_RECORD[2:]),  # a pointer into the header
        wire_of(b"\x40" + A_RECORD[2:]),  # a label of a kind that never came to be
        wire_of(b"\1\xff\0" + A_RECORD[2:]),  # an octet that is no letter
        wire_of(b"\1.\0" + A_RECORD[2:]),
        wire_of((b"\x3f" + b"a" * 63) * 4 + b"\0" + A_RECORD[2:]),  # longer than a name may be
    ],
)
def test_what_is_not_plain_is_left_to_others(wire):
    assert answers_to(wire, ASKED)
    assert read(wire, ASKED, "name.test", "A") is None


def test_an_opt_record_is_plain():
    assert read(wire_of(A_RECORD, additional=OPT), ASKED, "name.test", "A").records == ("192.0.2.1",)


def test_names_that_have_to_be_read_again_and_again_have_a_limit():
    long = b"\1a" * 100 + b"\0" + A_RECORD[2:]
    again = b"\xc0\x1b" + A_RECORD[2:]  # at the first one's name
    few = MOST_LABELS // 100
    assert read(wire_of(long, *[again] * (few - 1)), ASKED, "name.test", "A") == Answer(Status.NONSENSE)
    assert read(wire_of(long, *[again] * few), ASKED, "name.test", "A") is None


RTYPES = st.sampled_from(["A", "AAAA", "TXT", "MX", "PTR", "NS", "CNAME"])
RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["name.test", "b.test", "c.test"]),
        st.sampled_from(
            [
                ("A", "192.0.2.1"),
                ("AAAA", "2001:db8::1"),
                ("TXT", '"a" "b"'),
                ("MX", "5 b.test."),
                ("PTR", "c.test."),
                ("NS", "b.test."),
                ("CNAME", "b.test."),
                ("CNAME", "c.test."),
            ]
        ),
    ),
    max_size=6,
    unique_by=lambda record: record[0],  # no name has an alias and records beside it
)


@given(RTYPES, RECORDS)
def test_a_well_formed_answer_is_read_as_others_read_it(rtype, records):
    wire = answer_to("name.test", rtype, *((owner, *record) for owner, record in records))
    answer = read_of(wire, "name.test", rtype)
    message = cast("dns.message.QueryMessage", dns.message.from_wire(wire))
    try:
        chain = message.resolve_chaining()
    except dns.exception.DNSException:
        assert answer.status is Status.NONSENSE
        return
    if chain.answer is None:
        assert answer.status in {Status.NODATA, Status.NONSENSE}
    else:
        assert answer.status is Status.OK
        assert len(answer.records) == len(chain.answer)
        assert answer.ttl == min(each.ttl for each in [chain.answer, *chain.cnames])


@given(
    RTYPES,
    RECORDS,
    st.lists(st.tuples(st.integers(min_value=12), st.integers(0, 255)), max_size=5),
    st.integers(0, 30),
    st.binary(max_size=40),
)
def test_whatever_octets_come_they_are_an_answer_or_left_to_others(rtype, records, changes, cut, end):
    wire = bytearray(answer_to("name.test", rtype, *((owner, *record) for owner, record in records)))
    asked = question("name.test", rtype)
    for place, octet in changes:
        wire[4 + place % (len(wire) - 4)] = octet
    wire = bytes(wire[: len(wire) - cut]) + end
    if answers_to(wire, asked):
        answer = read(wire, asked, "name.test", rtype)
        assert answer is None or bool(answer.records) == (answer.status is Status.OK)
        if answer is not None and answer.certain:
            dns.message.from_wire(wire, ignore_trailing=False, one_rr_per_rrset=True)
