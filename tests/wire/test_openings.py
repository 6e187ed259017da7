from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.servers.smtp import COMMANDS
from gatekeeper.wire.openings import other_protocol


@pytest.mark.parametrize(
    ("octets", "protocol"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", "http"),
        (b"post /x HTTP/1.0\r\n", "http"),
        (b"CONNECT mail.example:25 HTTP/1.1\r\n", "http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http"),
        (b"OPTIONS sip:nm SIP/2.0\r\n", "http"),
        (b"HTTP/1.1 200 OK\r\n", "http"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "tls"),
        (b"\x16\x03\x03\x00\x05\x01\n\n", "tls"),
        (b"\x80\x2e\x01\x00\x02\x00\x15", "tls"),
        (b"\x80\x2e\x01\x03\x01", "tls"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "ssh"),
        (b"\x05\x01\x00", "socks"),
        (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "socks"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", "PROXY header"),
        (b"PROXY UNKNOWN\r\n", "PROXY header"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "PROXY header"),
        (b"\x00\x00\x00\x85\xffSMBr", "a binary protocol"),
        (b"\x03\x00\x00\x13\x0e\xe0", "a binary protocol"),
    ],
)
def test_what_is_not_smtp_is_known_by_its_first_words(octets, protocol):
    assert other_protocol(octets) == protocol


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"E",
        b"\r\n",
        b"\n",
        b" ",
        b"EHLO get.example\r\n",
        b"GETTING",
        b"get\r\n",
        b"PROXYS",
        b"\xffEHLO",
        b"\x16"[:0],
    ],
)
def test_what_may_be_smtp_is_nothing_else(octets):
    assert other_protocol(octets) is None


@given(st.sampled_from(sorted(COMMANDS)), st.binary(max_size=60), st.booleans())
def test_no_command_of_ours_is_taken_for_another_protocol(verb, rest, lower):
    word = verb.lower() if lower else verb
    assert other_protocol(word.encode() + b" " + rest) is None
    assert other_protocol(word.encode() + b"\r\n" + rest) is None


@given(st.binary(max_size=80))
def test_it_reads_anything(octets):
    assert other_protocol(octets) in {None, "http", "tls", "ssh", "socks", "PROXY header", "a binary protocol"}
