import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.dns.lists import Codes, DnsList, ListCode, Listing, judge, outside, plain, reversed_labels

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)
IN_127 = st.ip_addresses(network="127.0.0.0/8").map(str)

# --- whom, and under which name --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.5", "5.2.0.192"),
        ("::ffff:192.0.2.5", "5.2.0.192"),
        ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"),
    ],
)
def test_an_address_is_asked_for_backwards(address, name):
    assert reversed_labels(ipaddress.ip_address(address)) == name


@given(V4)
def test_the_name_of_an_ipv4_address_leads_back_to_it(address):
    octets = reversed_labels(address).split(".")
    assert ipaddress.ip_address(".".join(reversed(octets))) == address


@given(V6)
def test_the_name_of_an_ipv6_address_is_that_of_its_ptr_record(address):
    if address.ipv4_mapped is not None:
        return
    assert f"{reversed_labels(address)}.ip6.arpa" == address.reverse_pointer


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.31.0.1", "192.168.1.1"),
        *("224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1"),
    ],
)
def test_an_address_within_own_walls_is_not_outside(address):
    assert not outside(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "192.0.2.1", "172.32.0.1", "100.128.0.1", "2001:db8::1", "2a00::1", "::ffff:8.8.8.8"]
)
def test_any_other_address_is_outside(address):
    assert outside(ipaddress.ip_address(address))


@given(V4)
def test_a_mapped_address_is_the_ipv4_address_it_maps(address):
    assert plain(ipaddress.IPv6Address(f"::ffff:{address}")) == address
    assert plain(address) == address


# --- what answers mean -----------------------------------------------------------------------------------------------

MAP = Codes.parse({"127.0.0.2": "TWO", "127.0.0.4-7": "RANGE", "127.0.1.&12": "BITS", "127.0.2.0/30": "NET"})


@pytest.mark.parametrize("record", ["127.0.0.2", "127.0.0.3", "127.1.2.3", "127.254.254.254", "127.0.0.254"])
def test_without_a_code_map_any_answer_in_127_means_listed(record):
    assert judge([record], Codes()).listed == (Listing("", (record,)),)


@pytest.mark.parametrize(
    "record",
    [
        *("127.0.0.0", "127.0.0.1", "127.0.0.255", "127.0.1.255"),
        *("127.255.255.0", "127.255.255.252", "127.255.255.254", "127.255.255.255"),
    ],
)
@pytest.mark.parametrize("codes", [Codes(), Codes.parse({"127.0.0.0/8": "ALL"})])
def test_a_refusing_answer_never_means_listed(record, codes):
    answer = judge([record], codes)
    assert (answer.listed, answer.refused, answer.strange) == ((), True, ())


@pytest.mark.parametrize("record", ["192.0.2.1", "128.0.0.2", "126.255.255.255", "0.0.0.0", "::1", "nonsense", ""])
@pytest.mark.parametrize("codes", [Codes(), MAP])
def test_an_answer_outside_127_never_means_listed(record, codes):
    answer = judge([record], codes)
    assert (answer.listed, answer.refused, answer.strange) == ((), True, (record,))


@pytest.mark.parametrize("record", ["127.255.255.254", "203.0.113.1"])
def test_one_wrong_record_spoils_the_whole_answer(record):
    assert judge(["127.0.0.2", record], Codes()).listed == ()


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ("127.0.0.2", "TWO"),
        ("127.0.0.4", "RANGE"),
        ("127.0.0.7", "RANGE"),
        ("127.0.1.4", "BITS"),
        ("127.0.1.8", "BITS"),
        ("127.0.1.13", "BITS"),
        ("127.0.2.1", "NET"),
        ("127.0.2.3", "NET"),
    ],
)
def test_a_code_map_gives_an_answer_its_name(record, name):
    assert judge([record], MAP).listed == (Listing(name, (record,)),)


@pytest.mark.parametrize("record", ["127.0.0.3", "127.0.0.8", "127.0.1.3", "127.0.2.4", "127.1.0.2"])
def test_what_the_code_map_does_not_name_is_strange_but_no_refusal(record):
    answer = judge([record], MAP)
    assert (answer.listed, answer.refused, answer.strange) == ((), False, (record,))


def test_several_records_name_several_codes_each_with_its_own():
    answer = judge(["127.0.0.5", "127.0.0.2", "127.0.0.6", "127.0.0.99"], MAP)
    assert answer.listed == (Listing("RANGE", ("127.0.0.5", "127.0.0.6")), Listing("TWO", ("127.0.0.2",)))
    assert answer.strange == ("127.0.0.99",)


def test_bits_of_one_answer_name_several_codes():
    codes = Codes.parse({"127.0.0.&2": "A", "127.0.0.&8": "B", "127.0.0.&16": "C"})
    assert [listing.name for listing in judge(["127.0.0.10"], codes).listed] == ["A", "B"]


def test_two_patterns_of_one_name_count_an_address_once():
    codes = Codes.parse({"127.0.0.2": "A", "127.0.0.0/29": "A"})
    assert judge(["127.0.0.2"], codes).listed == (Listing("A", ("127.0.0.2",)),)


def test_thousands_of_records_leave_little_to_keep():
    records = [f"127.1.{number >> 8}.{number & 255}" for number in range(4000)]
    (listing,) = judge(records, Codes()).listed
    assert len(listing.addresses) == 8
    assert len(judge(records, MAP).strange) == 8


@given(st.lists(st.text() | V4.map(str) | IN_127, max_size=5))
def test_whatever_is_answered_nothing_outside_127_is_ever_listed(records):
    for codes in (Codes(), MAP):
        for listing in judge(records, codes).listed:
            assert all(text.startswith("127.") for text in listing.addresses)


@given(IN_127, st.integers(0, 255), st.integers(0, 255))
def test_a_range_holds_exactly_the_last_octets_between_its_ends(record, one, other):
    low, high = sorted((one, other))
    if low == high:
        return
    codes = Codes.parse({f"127.9.9.{low}-{high}": "R"})
    first, _, last = record.rpartition(".")
    assert bool(judge([record], codes).listed) == (first == "127.9.9" and low <= int(last) <= high)


@given(st.integers(1, 255), st.integers(0, 255))
def test_bits_hold_exactly_the_last_octets_that_share_one(bits, octet):
    codes = Codes.parse({f"127.9.9.&{bits}": "B"})
    assert bool(judge([f"127.9.9.{octet}"], codes).listed) == bool(bits & octet)


# --- what the operator writes ----------------------------------------------------------------------------------------

WRONG_CODES = [
    *("", "2", "127.0.0", "127.0.0.256", "127.0.0.7-4", "127.0.0.4-256", "127.0.0.&0", "127.0.0.&256", "127.0.0.4-"),
    *("128.0.0.2", "10.0.0.0/8", "126.0.0.0/7", "127.0.0.1", "127.255.255.254", "127.255.255.0/24"),
    *("127.255.255.252-255", "127.0.0.2/24", "127.0.0.２", "127.0.0.٢-٣", "127.0.0.2\n"),
]


@pytest.mark.parametrize("text", WRONG_CODES)
def test_a_pattern_that_makes_no_sense_is_named(text):
    with pytest.raises(ValueError, match="code"):
        Codes.parse({text: "X"})


@given(st.text())
def test_any_text_is_a_pattern_or_a_value_error(text):
    try:
        Codes.parse({text: "X"})
    except ValueError as error:
        assert repr(text) in str(error)  # noqa: PT017  # most texts are no patterns, some may be


def test_scores_come_from_the_code_or_from_the_list():
    codes = {"127.0.0.2": ListCode("SBL", 5.0), "127.0.0.4-7": ListCode("XBL"), "127.0.0.9": ListCode("XBL")}
    assert DnsList("bl.test", "L", 3.0, codes).scores == {"SBL": 5.0, "XBL": 3.0}
    assert DnsList("bl.test", "L", -2.0).scores == {"": -2.0}


def test_a_list_is_a_value_that_can_be_a_key():
    assert len({DnsList("bl.test", "L", 1.0, {"127.0.0.2": ListCode("A")}) for _ in range(2)}) == 1


@pytest.mark.parametrize(
    ("made", "mend"),
    [
        (lambda: DnsList("bl test", "L", 1.0), "no zone"),
        (lambda: DnsList("", "L", 1.0), "no zone"),
        (lambda: DnsList("bl..test", "L", 1.0), "no zone"),
        (lambda: DnsList(".".join(["a" * 60] * 4), "L", 1.0), "no zone"),
        (lambda: DnsList("bl.test", "zen", 1.0), "use A-Z"),
        (lambda: DnsList("bl.test", "", 1.0), "use A-Z"),
        (lambda: DnsList("bl.test", "L", 1.0, {"127.0.0.2": ListCode("a b")}), "use A-Z"),
        (lambda: DnsList("bl.test", "L"), "has no score"),
        (lambda: DnsList("bl.test", "L", codes={"127.0.0.2": ListCode("A")}), "has no score"),
        (lambda: DnsList("bl.test", "L", float("nan")), "no finite number"),
        (lambda: DnsList("bl.test", "L", 1.0, {"127.0.0.2": ListCode("A", float("inf"))}), "no finite number"),
        (lambda: DnsList("bl.test", "L", 1.0, {"127.0.0.1": ListCode("A")}), "never means listed"),
        (
            lambda: DnsList("bl.test", "L", 1.0, {"127.0.0.2": ListCode("A"), "127.0.0.3": ListCode("A", 2.0)}),
            "different scores",
        ),
    ],
)
def test_a_list_that_makes_no_sense_says_what_to_mend(made, mend):
    with pytest.raises(ValueError, match=mend):
        made()


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("Zen.Spamhaus.ORG.", "zen.spamhaus.org"),
        ("u5t6abcd2efgh3ijkl4mnopqrs.zen.dq.spamhaus.net", "(key).zen.dq.spamhaus.net"),
        ("0123456789abcdef0123456789abcdef.combined.mail.abusix.zone", "(key).combined.mail.abusix.zone"),
        ("hostkarma.junkemailfilter.com", "hostkarma.junkemailfilter.com"),
    ],
)
def test_a_subscriber_s_key_is_not_shown(zone, shown):
    assert DnsList(zone, "L", 1.0).shown == shown
