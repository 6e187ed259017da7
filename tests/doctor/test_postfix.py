"""Reading what postconf prints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.doctor import postfix
from gatekeeper.doctor.postfix import Endpoint, closes, policy_check, read, restrictions, seconds, trusts_local, words

MAIN = """compatibility_level = 3.6
config_directory = /etc/postfix
disable_vrfy_command = no
inet_interfaces = all
queue_directory = /var/spool/postfix
smtpd_milters =
"""
SERVICES = """smtp       inet  n       -       y       -       -       smtpd -o smtpd_proxy_filter=127.0.0.1:10025
127.0.0.1:10026 inet n   -       n       -       -       smtpd -o smtpd_milters=
[::1]:10027 inet n       -       n       -       -       smtpd -v
submission inet  n       -       -       -       -       smtpd
smtpd      pass  n       -       n       -       -       smtpd
pickup     unix  n       -       n       60      1       pickup
"""
OVERRIDES = """smtp/inet/smtpd_proxy_filter = 127.0.0.1:10025
127.0.0.1:10026/inet/smtpd_milters =
127.0.0.1:10026/inet/smtpd_relay_restrictions = reject_unauth_destination
"""


@pytest.fixture
def found():
    return read("/etc/postfix", MAIN, SERVICES, OVERRIDES)


def test_a_parameter_of_a_service_goes_before_that_of_main_cf(found):
    smtp, inner, *_ = found.services
    assert found.value("smtpd_proxy_filter", smtp) == "127.0.0.1:10025"
    assert found.value("smtpd_proxy_filter", inner) == ""
    assert found.value("smtpd_relay_restrictions", inner) == "reject_unauth_destination"
    assert found.value("disable_vrfy_command", smtp) == found.value("disable_vrfy_command") == "no"


def test_services_have_their_address_chroot_and_command(found):
    assert [(s.name, s.type, s.chroot, s.host, s.port) for s in found.services] == [
        ("smtp", "inet", True, "", 25),
        ("127.0.0.1:10026", "inet", False, "127.0.0.1", 10026),
        ("[::1]:10027", "inet", False, "::1", 10027),
        ("submission", "inet", False, "", 587),
        ("smtpd", "pass", False, "", None),
        ("pickup", "unix", False, "", None),
    ]
    assert [str(s) for s in found.sessions] == [
        "smtp inet",
        "127.0.0.1:10026 inet",
        "[::1]:10027 inet",
        "submission inet",
        "smtpd pass",
    ]


def test_the_service_at_an_address_is_found(found):
    assert str(found.listening("127.0.0.1", 10026)) == "127.0.0.1:10026 inet"
    assert str(found.listening("localhost", 10026)) == "127.0.0.1:10026 inet"
    assert str(found.listening("192.0.2.1", 25)) == "smtp inet"
    assert found.listening("192.0.2.1", 10026) is None


@pytest.mark.parametrize(
    ("name", "interfaces", "public"),
    [
        ("smtp", "all", True),
        ("smtp", "loopback-only", False),
        ("smtp", "127.0.0.1, [::1]", False),
        ("smtp", "127.0.0.1, 192.0.2.1", True),
        ("127.0.0.1:smtp", "all", False),
        ("127.0.0.2:smtp", "all", False),
        ("localhost:smtp", "all", False),
        ("192.0.2.1:25", "loopback-only", True),
    ],
)
def test_who_can_connect_depends_on_the_service_and_the_interfaces(name, interfaces, public):
    service = postfix.Service(name, "inet", chroot=False, command="smtpd")
    assert postfix.Postfix("", {"inet_interfaces": interfaces}, (service,)).is_public(service) is public


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        ("a, b c", ("a", "b", "c")),
        ("{ inet:127.0.0.1:99, command_timeout = 5s }, x", ("{ inet:127.0.0.1:99, command_timeout = 5s }", "x")),
    ],
)
def test_lists_are_split_at_blanks_and_commas_but_not_in_braces(value, expected):
    assert words(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("100s", 100), ("5m", 300), ("7", 7), ("1h", 3600), ("", 42), ("x", 42)]
)
def test_times_are_seconds(value, expected):
    assert seconds(value, 42) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("inet:127.0.0.1:10027", Endpoint("inet:127.0.0.1:10027", "127.0.0.1", 10027)),
        ("inet:localhost:10027", Endpoint("inet:localhost:10027", "127.0.0.1", 10027)),
        ("inet:[::1]:10027", Endpoint("inet:[::1]:10027", "::1", 10027)),
        ("127.0.0.1:10025", Endpoint("127.0.0.1:10025", "127.0.0.1", 10025)),
        (":10025", Endpoint(":10025", "127.0.0.1", 10025)),
        ("10025", Endpoint("10025", "127.0.0.1", 10025)),
        ("unix:/gatekeeper/milter", Endpoint("unix:/gatekeeper/milter", path="/gatekeeper/milter")),
        (
            "{ inet:127.0.0.1:1, timeout=10s, default_action = DUNNO }",
            Endpoint("inet:127.0.0.1:1", "127.0.0.1", 1, options={"timeout": "10s", "default_action": "DUNNO"}),
        ),
        ("", None),
        ("inet:", None),
        ("mysql:/x", None),
    ],
)
def test_endpoints_are_read_in_all_their_forms(word, expected):
    assert Endpoint.read(word) == expected


def test_restrictions_keep_their_arguments():
    value = (
        "check_sender_access hash:/x, check_policy_service unix:private/a, permit_mynetworks reject_rbl_client bl.test "
        "check_policy_service { inet:127.0.0.1:10028, timeout=3s }"
    )
    found = restrictions(value)
    assert found == (
        "check_sender_access hash:/x",
        "check_policy_service unix:private/a",
        "permit_mynetworks",
        "reject_rbl_client bl.test",
        "check_policy_service { inet:127.0.0.1:10028, timeout=3s }",
    )
    assert [asked.text for each in found if (asked := policy_check(each))] == ["unix:private/a", "inet:127.0.0.1:10028"]
    assert policy_check("check_policy_service") is None


@pytest.mark.parametrize(
    ("value", "local", "closed"),
    [
        ("reject_unauth_destination", False, True),
        ("permit_mynetworks, reject_unauth_destination", True, True),
        ("permit_mynetworks, reject", True, True),
        ("permit_sasl_authenticated, defer_unauth_destination", False, True),
        ("permit", True, False),
        ("", True, False),
        ("check_policy_service inet:127.0.0.1:1", True, False),
    ],
)
def test_restrictions_say_who_may_send_anywhere(value, local, closed):
    assert trusts_local(value) is local
    assert closes(value) is closed


@given(st.text(), st.text(), st.text())
def test_anything_that_is_printed_can_be_read(main, services, overrides):
    found = read("/etc/postfix", main, services, overrides)
    for each in found.services:
        assert each.port is None or each.port >= 0
        found.is_public(each)


@given(st.text())
def test_any_word_is_an_endpoint_or_none(word):
    found = Endpoint.read(word)
    assert found is None or found.path or found.port >= 0
    for each in restrictions(word):
        policy_check(each)
