"""Postfix's policy requests, and what is none."""

import contextlib
from ipaddress import ip_address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.model import Address, Tls
from gatekeeper.wire.policy_request import (
    ANSWER_OCTETS,
    REQUEST_OCTETS,
    PolicyError,
    PolicyRequest,
    RequestReader,
    State,
    encode_answer,
    read_request,
)

RCPT = b"""request=smtpd_access_policy
protocol_state=RCPT
protocol_name=ESMTP
client_address=192.0.2.10
client_name=mail.example.net
client_port=40321
reverse_client_name=mail.example.net
server_address=127.0.0.1
server_port=25
helo_name=mail.example.net
sender=someone@example.net
recipient=Alice@Example.ORG
recipient_count=0
queue_id=
instance=4e2.6553f100.a1b2.0
size=12345
etrn_domain=
stress=
sasl_method=
sasl_username=
sasl_sender=
ccert_subject=
ccert_issuer=
ccert_fingerprint=
ccert_pubkey_fingerprint=
encryption_protocol=TLSv1.3
encryption_cipher=TLS_AES_256_GCM_SHA384
encryption_keysize=256
policy_context=

"""


def request(**values: str) -> PolicyRequest:
    lines = {"request": "smtpd_access_policy"} | values
    return read_request("\n".join(f"{name}={value}" for name, value in lines.items()).encode())


def test_a_request_of_postfix_is_read_into_facts():
    reader = RequestReader()
    reader.receive(RCPT)
    assert reader.next_request() == PolicyRequest(
        state=State.RCPT,
        instance="4e2.6553f100.a1b2.0",
        address=ip_address("192.0.2.10"),
        port=40321,
        name="mail.example.net",
        reverse_name="mail.example.net",
        helo="mail.example.net",
        extended=True,
        tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256),
        login=None,
        sender=Address("someone", "example.net", "someone@example.net"),
        recipient=Address("Alice", "example.org", "Alice@Example.ORG"),
        recipient_count=None,
        size=12345,
        queue_id="",
    )
    assert reader.next_request() is None
    assert reader.waiting == 0


@given(st.lists(st.integers(0, 2 * len(RCPT)), max_size=6))
def test_a_request_may_come_cut_anywhere(cuts):
    two = RCPT + RCPT.replace(b"=RCPT", b"=DATA")
    reader, found = RequestReader(), []
    edges = [0, *sorted(cuts), len(two)]
    for start, end in pairwise(edges):
        reader.receive(two[start:end])
        while (one := reader.next_request()) is not None:
            found.append(one.state)
    assert found == [State.RCPT, State.DATA]


def test_a_request_that_is_not_complete_is_none_yet():
    reader = RequestReader()
    for end in range(1, len(RCPT)):
        reader.receive(RCPT[end - 1 : end])
        assert reader.next_request() is None
        assert reader.waiting == end


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"request=smtpd_access_policy\nsender\n\n", "not name=value"),
        (b"request=smtpd_access_policy\n=value\n\n", "not name=value"),
        (b"request=smtpd_access_policy\nsender=a\0b\n\n", "NUL"),
        (b"request=junk\n\n", "smtpd_access_policy"),
        (b"sender=a@b\n\n", "smtpd_access_policy"),
        (b"\n", "empty line"),
        (b"\n\n", "empty line"),
        (b"request=smtpd_access_policy\r\nsender=a@b\r\n\r\n\n", "not name=value"),
        (b"EHLO somebody.example\r\n\n\n", "not name=value"),
        (b"x" * (REQUEST_OCTETS + 1), "more than"),
        (b"a=" + b"x" * REQUEST_OCTETS + b"\n\n", "more than"),
        (b"a=b\n" * REQUEST_OCTETS, "more than"),
    ],
)
def test_what_is_no_request_is_an_error_with_a_reason(text, why):
    reader = RequestReader()
    reader.receive(text)
    with pytest.raises(PolicyError, match=why):
        reader.next_request()


def test_the_longest_request_is_read():
    reader = RequestReader()
    start = b"request=smtpd_access_policy\nstress="
    reader.receive(start + b"x" * (REQUEST_OCTETS - len(start) - 2) + b"\n\n")
    assert reader.next_request() == PolicyRequest(None)


@given(st.binary(max_size=300))
def test_octets_from_anybody_are_a_request_or_an_error(octets):
    reader = RequestReader()
    reader.receive(b"request=smtpd_access_policy\n" + octets + b"\n\n")
    with contextlib.suppress(PolicyError):
        assert isinstance(reader.next_request(), PolicyRequest)


@given(st.dictionaries(st.sampled_from(["client_address", "client_port", "size", "recipient_count", "sender",
       "recipient", "helo_name", "encryption_protocol", "encryption_keysize", "protocol_state"]),
       st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=40)))  # fmt: skip
def test_values_from_anybody_are_facts_or_unknown(values):
    assert isinstance(request(**values), PolicyRequest)


def test_what_postfix_does_not_know_is_unknown():
    found = request(
        protocol_state="RCPT",
        client_address="unknown",
        client_name="unknown",
        reverse_client_name="unknown",
        client_port="0",
        helo_name="",
        size="0",
        encryption_keysize="0",
        sender="",
    )
    assert found == PolicyRequest(State.RCPT, sender=Address("", ""))


def test_a_name_that_is_not_known_is_left_out_and_of_two_the_last_one_counts():
    assert read_request(b"request=smtpd_access_policy\nsize=1\nf\xffture=\xff\nsize=2").size == 2


def test_octets_that_are_no_utf8_are_replaced():
    assert read_request(b"request=smtpd_access_policy\nhelo_name=caf\xe9").helo == "caf\ufffd"


@pytest.mark.parametrize(
    ("written", "state"),
    [
        *((state.value, state) for state in State),
        ("EHLO", State.HELO),
        ("BDAT", State.DATA),
        ("rcpt", None),
        ("SOMETHING-NEW", None),
        ("", None),
    ],
)
def test_states_are_read_by_their_names(written, state):
    assert request(protocol_state=written).state is state


def test_an_empty_sender_is_the_null_sender_only_where_there_is_a_mail():
    assert request(protocol_state="RCPT", sender="").sender == Address("", "")
    assert request(protocol_state="VRFY", sender="").sender is None
    assert request(protocol_state="RCPT").sender is None


def test_recipients_are_counted_only_where_all_are_known():
    assert request(protocol_state="RCPT", recipient_count="0").recipient_count is None
    assert request(protocol_state="DATA", recipient_count="0").recipient_count == 0
    assert request(protocol_state="END-OF-MESSAGE", recipient_count="3").recipient_count == 3


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("2001:db8::1", ip_address("2001:db8::1")),
        ("::ffff:192.0.2.1", ip_address("192.0.2.1")),
        ("fe80::1%eth0", ip_address("fe80::1")),
        ("192.0.2.256", None),
    ],
)
def test_client_addresses_are_read_whatever_their_family(text, address):
    assert request(client_address=text).address == address


def test_mailboxes_are_read_without_quotes():
    assert request(protocol_state="RCPT", recipient="john doe@Example.org").recipient == Address(
        "john doe", "example.org", "john doe@Example.org"
    )


@pytest.mark.parametrize(
    ("action", "octets"),
    [
        ("DUNNO", b"action=DUNNO\n\n"),
        ("550 5.7.1 no\nway\r\n\naction=OK\0caf\xe9", b"action=550 5.7.1 no?way?action=OK?caf?\n\n"),
        ("x" * 5000, b"action=" + b"x" * ANSWER_OCTETS + b"\n\n"),
    ],
)
def test_an_answer_is_one_line_of_printable_ascii(action, octets):
    assert encode_answer(action) == octets
