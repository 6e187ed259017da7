from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.wire.listen import ListenAddress, SystemdAddress, TcpAddress, UnixAddress, read_listen


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:25", TcpAddress(ip_address("127.0.0.1"), 25)),
        ("0.0.0.0:10025", TcpAddress(ip_address("0.0.0.0"), 10025)),
        ("localhost:0", TcpAddress(ip_address("127.0.0.1"), 0)),
        ("[::1]:25", TcpAddress(ip_address("::1"), 25)),
        ("[2001:DB8::1]:65535", TcpAddress(ip_address("2001:db8::1"), 65535)),
        ("[fe80::1%eth0]:25", TcpAddress(ip_address("fe80::1%eth0"), 25)),
        ("unix:/run/gatekeeper/smtp", UnixAddress("/run/gatekeeper/smtp", 0o660, None)),
        ("unix:/a?mode=0600", UnixAddress("/a", 0o600, None)),
        ("unix:/a?group=postfix&mode=666", UnixAddress("/a", 0o666, "postfix")),
        ("systemd:smtp", SystemdAddress("smtp")),
    ],
)
def test_every_form_is_read(text: str, address: ListenAddress):
    assert read_listen(text) == address
    assert read_listen(str(address)) == address


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("", "127.0.0.1:25"),
        ("25", "127.0.0.1:25"),
        ("127.0.0.1", "has no port"),
        ("127.0.0.1:", "a number up to 65535"),
        ("127.0.0.1:smtp", "a number up to 65535"),
        ("127.0.0.1:65536", "a number up to 65535"),
        ("127.0.0.1:٢٥", "a number up to 65535"),
        ("127.0.0.1:-1", "a number up to 65535"),
        (":25", "0.0.0.0:25"),
        ("*:25", "[::]:25"),
        ("mx.example.org:25", "not an IP address"),
        ("127.1:25", "not an IP address"),
        ("[127.0.0.1]:25", "not an IP address"),
        ("::1:25:26", "in brackets; write [::1:25]:26"),
        ("[::1]", "a number up to 65535"),
        ("unix:", "the whole path"),
        ("unix:relative", "the whole path"),
        ("unix:/run/", "the whole path"),
        ("unix:/a\0b", "the whole path"),
        ("unix:/" + "a" * 107, "107 bytes"),
        ("unix:/a?mode=rw", "octal"),
        ("unix:/a?mode=1777", "octal"),
        ("unix:/a?mode=0660&mode=0600", "once each"),
        ("unix:/a?owner=root", "only mode= and group="),
        ("unix:/a?group=a b", "name of a group"),
        ("unix:/a?group=", "name of a group"),
        ("systemd:", "FileDescriptorName="),
        ("systemd:a:b", "FileDescriptorName="),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_mend(text: str, mend: str):
    with pytest.raises(ValueError) as refused:
        read_listen(text)
    assert mend in str(refused.value)


@given(st.text() | st.text("0123456789.:[]*/?&=unixsystemdmode").map(lambda rest: "unix:/" + rest))
def test_anything_is_an_address_or_a_sentence(text: str):
    try:
        address = read_listen(text)
    except ValueError:
        return
    assert read_listen(str(address)) == address


def test_addresses_that_cannot_both_be_open_have_the_same_place():
    assert read_listen("unix:/a?mode=0600").place == read_listen("unix:/a?group=postfix").place
    assert read_listen("localhost:25").place == read_listen("127.0.0.1:25").place
    assert read_listen("[::]:25").place != read_listen("0.0.0.0:25").place
