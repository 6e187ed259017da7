"""Promises about what stands around gatekeeper."""

from typing import Any

import pytest

from gatekeeper.doctor import surroundings
from gatekeeper.doctor.facts import Certificate, Exchange, Facts, Mode, NextHopFacts, Port, ResolverFacts
from gatekeeper.doctor.postfix import Service
from gatekeeper.doctor.promise import Judgement, Standing
from gatekeeper.nexthop import Capabilities
from tests.support.doctor import SMTP, attachment, facts, postfix, service

HOLDS, BROKEN, UNKNOWN = Standing.HOLDS, Standing.BROKEN, Standing.UNKNOWN
HERE = attachment(Mode.ALL)
INSIDE = "/var/spool/postfix/gatekeeper/milter"


def mended(judgement: Judgement) -> str:
    assert judgement.standing is BROKEN, judgement
    return str(judgement.mend)


# --- what Postfix needs to find us


@pytest.mark.parametrize(
    ("mode", "listen", "before", "line"),
    [
        (Mode.MILTER, "127.0.0.1:10027", {}, "smtpd_milters = inet:127.0.0.1:10027"),
        (Mode.MILTER, "0.0.0.0:10027", {}, "smtpd_milters = inet:127.0.0.1:10027"),
        (Mode.MILTER, "[::1]:10027", {}, "smtpd_milters = inet:[::1]:10027"),
        (Mode.MILTER, "[::]:10027", {}, "smtpd_milters = inet:[::1]:10027"),
        (Mode.MILTER, "systemd:milter", {}, "smtpd_milters = unix:gatekeeper/milter"),
        (
            Mode.MILTER,
            f"unix:{INSIDE}",
            {"smtpd_milters": "unix:/opendkim"},
            "smtpd_milters = unix:/opendkim, unix:gatekeeper/milter",
        ),
        (
            Mode.MILTER,
            "unix:/var/spool/postfix2/gatekeeper/milter",
            {},
            "smtpd_milters = unix:/var/spool/postfix2/gatekeeper/milter",
        ),
        (
            Mode.POLICY,
            "systemd:policy",
            {},
            "smtpd_recipient_restrictions = check_policy_service unix:gatekeeper/policy",
        ),
        (
            Mode.POLICY,
            "unix:/var/spool/postfix/gatekeeper/policy",
            {},
            "smtpd_recipient_restrictions = check_policy_service unix:gatekeeper/policy",
        ),
        (
            Mode.POLICY,
            "127.0.0.1:10028",
            {"smtpd_recipient_restrictions": "permit_mynetworks"},
            "smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:10028, permit_mynetworks",
        ),
    ],
)
def test_a_server_that_nobody_asks_is_named_with_the_line_that_asks_it(mode, listen, before, line):
    said = surroundings.asked(facts(behind=postfix(service(), **before)), attachment(mode, listen=[listen]))
    assert mended(said) == f"/etc/postfix/main.cf: {line}"


def test_who_asks_us_is_named():
    at = attachment(Mode.MILTER, service(), listen=["127.0.0.1:10027"])
    said = surroundings.asked(facts(behind=postfix(service())), at)
    assert (said.standing, "smtp inet" in said.why) == (HOLDS, True)
    assert surroundings.asked(facts(), at).standing is UNKNOWN


@pytest.mark.parametrize(
    ("listen", "chroot", "barred", "why"),
    [
        ("127.0.0.1:10027", True, {}, None),
        (f"unix:{INSIDE}?mode=0660&group=postfix", True, {}, None),
        (f"unix:{INSIDE}?mode=0666", True, {}, None),
        ("unix:/run/gatekeeper/milter?mode=0660&group=postfix", False, {}, None),
        ("unix:/run/gatekeeper/milter?mode=0660&group=postfix", True, {}, "chrooted"),
        (f"unix:{INSIDE}", True, {}, "closed to the user postfix"),
        (f"unix:{INSIDE}?mode=0600&group=postfix", True, {}, "closed to the user postfix"),
        (f"unix:{INSIDE}?mode=0640&group=postfix", False, {}, "closed to the user postfix"),
        (f"unix:{INSIDE}?group=postfix", True, {INSIDE: "/var/spool is closed"}, "/var/spool is closed"),
    ],
)
def test_a_socket_must_be_where_postfix_can_open_it(listen, chroot, barred, why):
    entrance = service(chroot=chroot)
    here = facts(behind=postfix(entrance), barred=barred)
    said = surroundings.socket_reachable(here, attachment(Mode.MILTER, entrance, listen=[listen]))
    if why is None:
        assert said.standing is HOLDS
    else:
        assert why in said.why
        assert mended(said) == (
            f'gatekeeper.toml: [servers.milter]: listen = ["unix:{INSIDE}?mode=0660&group=postfix"]'
        )


@pytest.mark.parametrize(
    ("mode", "name", "before"),
    [(Mode.MILTER, "smtpd_milters", ""), (Mode.POLICY, "smtpd_recipient_restrictions", "check_policy_service ")],
)
@pytest.mark.parametrize(
    ("path", "chroot", "place"),
    [
        ("gatekeeper/milter", True, None),
        ("gatekeeper/milter", False, None),
        ("/gatekeeper/milter", True, None),
        ("/gatekeeper/milter", False, "/gatekeeper/milter"),
        (INSIDE, False, None),
    ],
)
def test_a_path_is_read_as_that_service_of_postfix_reads_it(mode, name, before, path, chroot, place):
    """Postfix that finds nobody there puts all mail off."""
    entrance = service(chroot=chroot)
    at = attachment(mode, entrance, listen=[f"unix:{INSIDE}?mode=0660&group=postfix"], endpoint=f"unix:{path}")
    said = surroundings.socket_reachable(facts(behind=postfix(entrance, **{name: f"{before}unix:{path}"})), at)
    if place is None:
        assert said.standing is HOLDS
    else:
        assert f"smtp inet looks for our socket at {place}," in said.why
        assert mended(said) == f"/etc/postfix/main.cf: {before or 'smtpd_milters = '}unix:gatekeeper/milter"


@pytest.mark.parametrize(
    ("main", "overrides", "line"),
    [
        (
            {"smtpd_milters": "unix:/opendkim, { unix:/gatekeeper/milter, command_timeout=5s }"},
            {},
            "main.cf: smtpd_milters = unix:/opendkim, { unix:gatekeeper/milter, command_timeout=5s }",
        ),
        (
            {},
            {"smtpd_milters": "unix:/gatekeeper/milter inet:127.0.0.1:8891"},
            "master.cf: smtp inet: -o smtpd_milters=unix:gatekeeper/milter,inet:127.0.0.1:8891",
        ),
    ],
)
def test_who_is_led_right_keeps_its_other_milters(main, overrides, line):
    entrance = service(**overrides)
    behind = postfix(entrance, **main)
    at = attachment(Mode.MILTER, entrance, listen=[f"unix:{INSIDE}?mode=0666"], endpoint="unix:/gatekeeper/milter")
    assert mended(surroundings.socket_reachable(facts(behind=behind), at)) == f"/etc/postfix/{line}"


def test_a_socket_of_systemds_is_looked_at_once_it_is_there():
    at = attachment(Mode.MILTER, service(chroot=True), listen=["systemd:milter"], endpoint="unix:gatekeeper/milter")

    def said(barred: dict[str, str]) -> Judgement:
        return surroundings.socket_reachable(facts(behind=postfix(), barred=barred), at)

    assert said({}).standing is UNKNOWN
    assert said({INSIDE: ""}).standing is HOLDS
    assert mended(said({INSIDE: "it is closed"})).endswith("[Socket]: SocketUser=postfix")


def test_tcp_between_postfix_and_a_milter_is_slow_but_works():
    said = surroundings.milter_is_quick(facts(behind=postfix()), attachment(Mode.MILTER, listen=["127.0.0.1:10027"]))
    assert said.standing is HOLDS
    assert "42 ms" in said.why
    assert f"unix:{INSIDE}" in str(said.mend)
    assert surroundings.milter_is_quick(facts(), attachment(Mode.MILTER, listen=[f"unix:{INSIDE}"])).mend is None


# --- listeners


@pytest.mark.parametrize(
    ("port", "standing"),
    [
        (Port.OURS, HOLDS),
        (Port.FREE, HOLDS),
        (Port.TAKEN, BROKEN),
        (Port.NOT_HERE, BROKEN),
        (Port.FORBIDDEN, UNKNOWN),
        (Port.UNSEEN, UNKNOWN),
    ],
)
def test_our_addresses_are_ours_or_free(port, standing):
    assert surroundings.ports_open(facts(ports={"127.0.0.1:10025": port}), HERE).standing is standing


def test_a_certificate_without_faults_is_good():
    assert surroundings.certificate_good(facts(), HERE).standing is HOLDS
    good = facts(certificate=Certificate("/c", "/k", (), 60.0))
    assert surroundings.certificate_good(good, HERE).mend is None
    soon = surroundings.certificate_good(facts(certificate=Certificate("/c", "/k", (), 3.0)), HERE)
    assert (soon.standing, "3 more days" in soon.why) == (HOLDS, True)
    bad = facts(certificate=Certificate("/c", "/k", ("/c expired on 2020-01-01",), -9.0))
    assert mended(surroundings.certificate_good(bad, HERE)).startswith("gatekeeper.toml: [servers.smtp.tls]")


@pytest.mark.parametrize(
    ("listen", "near"),
    [
        ("127.0.0.1:8025", None),
        ("[::1]:8025", None),
        ("unix:/run/gatekeeper/http", None),
        ("0.0.0.0:8025", "127.0.0.1:8025"),
        ("[::]:8025", "[::1]:8025"),
        ("192.0.2.1:8025", "127.0.0.1:8025"),
    ],
)
def test_http_is_not_open_to_the_world(listen, near):
    said = surroundings.http_private(facts(f'[servers.http]\nlisten = ["{listen}"]\n'), HERE)
    if near is None:
        assert said.standing is HOLDS
    else:
        assert mended(said) == f'gatekeeper.toml: [servers.http]: listen = ["{near}"]'


def test_a_token_keeps_nobody_from_the_numbers():
    given = 'listen = ["192.0.2.1:8025"]\ntoken = "0123456789abcdef0123456789abcdef"'
    said = surroundings.http_private(facts(f"[servers.http]\n{given}\n"), HERE)
    assert mended(said) == 'gatekeeper.toml: [servers.http]: listen = ["127.0.0.1:8025"]'
    assert "/metrics, /readyz and /healthz do not ask for it" in said.why
    near = given.replace("192.0.2.1", "127.0.0.1")
    assert surroundings.http_private(facts(f"[servers.http]\n{near}\n"), HERE).standing is HOLDS


def test_no_server_trusts_the_world():
    for section, given in (
        ("servers.milter", 'trust = ["0.0.0.0/0"]'),
        ("servers.milter", 'exempt_networks = ["::/0"]'),
        ("servers.policy_service", 'trust = ["0.0.0.0/0"]'),
    ):
        said = surroundings.trust_narrow(facts(f"[{section}]\n{given}\n"), HERE)
        assert mended(said).startswith(f"gatekeeper.toml: [{section}]: {given.partition(' ')[0]} = ")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ('trust = ["127.0.0.1/32", "unix", "10.0.0.0/8", "2001:db8::/32"]', None),
        ('trust = ["0.0.0.0/0"]', 'trust = ["127.0.0.1/32"]'),
        ('trust = ["192.0.2.0/24", "::/0"]', 'trust = ["192.0.2.0/24"]'),
        ('trust = ["unix", "0.0.0.0/1", "128.0.0.0/1"]', 'trust = ["unix"]'),
        ('ours = ["0.0.0.0/0", "192.0.2.0/24"]', 'ours = ["192.0.2.0/24"]'),
        ('ours = ["2000::/3"]', 'ours = ["127.0.0.1/32"]'),
    ],
)
def test_the_world_is_not_trusted(given, line):
    said = surroundings.trust_narrow(facts(f"{SMTP}{given}\n"), HERE)
    if line is None:
        assert said.standing is HOLDS
    else:
        assert mended(said) == f"gatekeeper.toml: [servers.smtp]: {line}"


# --- DNS


@pytest.mark.parametrize(
    ("nameservers", "standing"),
    [
        (("127.0.0.1",), HOLDS),
        (("192.0.2.53", "2001:db8::53"), HOLDS),
        (("127.0.0.1", "8.8.8.8"), BROKEN),
        (("1.1.1.1",), BROKEN),
        (("9.9.9.9",), BROKEN),
        (("2001:4860:4860::8888",), BROKEN),
        (("2606:4700:4700::1111",), BROKEN),
        (("2620:fe::fe",), BROKEN),
        ((), UNKNOWN),
    ],
)
def test_everybodys_resolver_is_not_ours(nameservers, standing):
    said = surroundings.resolver_own(facts(resolver=ResolverFacts(nameservers, answers=True)), HERE)
    assert said.standing is standing


def test_a_resolver_answers_and_invents_nothing():
    def said(**found: Any) -> Judgement:
        return surroundings.resolver_answers(facts(resolver=ResolverFacts(("127.0.0.1",), **found)), HERE)

    assert said(answers=True).standing is HOLDS
    assert mended(said(answers=False, why="timeout")) == 'gatekeeper.toml: [dns]: nameservers = ["127.0.0.1:53"]'
    assert "cannot exist" in said(answers=True, invents=True).why


def test_another_mx_may_go_round_us():
    text = f'relay_domains = ["example.org"]\n{SMTP}'
    ours, other = Exchange("example.org", "mx1", ()), Exchange("example.org", "mx2", ("192.0.2.7",))
    assert surroundings.mx_only_us(facts(text, exchanges=(ours,)), HERE).standing is HOLDS
    said = surroundings.mx_only_us(facts(text, exchanges=(ours, other)), HERE)
    assert (said.standing, "mx2 (192.0.2.7)" in said.why) == (UNKNOWN, True)
    assert "NAT" in surroundings.mx_only_us(facts(text, exchanges=(other,)), HERE).why
    assert surroundings.mx_only_us(facts(text), HERE).standing is UNKNOWN
    assert surroundings.mx_only_us(facts(SMTP), HERE).standing is UNKNOWN


@pytest.mark.parametrize(
    ("services", "standing"),
    [
        ([service("127.0.0.1:10026")], HOLDS),
        ([service("127.0.0.1:smtp"), service("submission")], HOLDS),
        ([service(smtpd_proxy_filter="127.0.0.1:10025")], HOLDS),
        ([service()], BROKEN),
        ([service("192.0.2.1:25")], BROKEN),
    ],
)
def test_postfix_has_no_door_of_its_own(services, standing):
    said = surroundings.one_door(facts(behind=postfix(*services)), HERE)
    assert said.standing is standing
    if standing is BROKEN:
        assert mended(said) == "/etc/postfix/master.cf: 127.0.0.1:smtp inet n - y - - smtpd"


def test_postscreen_asks_us_by_its_smtpd():
    screen = Service("smtp", "inet", chroot=False, command="postscreen")
    asks = service("smtpd", "pass", smtpd_proxy_filter="127.0.0.1:10025")
    assert surroundings.one_door(facts(behind=postfix(screen, asks)), HERE).standing is HOLDS
    assert surroundings.one_door(facts(behind=postfix(screen, service("smtpd", "pass"))), HERE).standing is BROKEN


# --- next hop and store


def test_the_next_hop_answers():
    at = attachment(Mode.FRONT)
    all_ = dict.fromkeys(("SIZE", "8BITMIME", "SMTPUTF8"), "")
    assert surroundings.next_hop_answers(facts(next_hop=NextHopFacts(Capabilities(all_))), at).standing is HOLDS
    said = surroundings.next_hop_answers(facts(next_hop=NextHopFacts(Capabilities({"SIZE": ""}))), at)
    assert (said.standing, "8BITMIME, SMTPUTF8" in said.why) == (HOLDS, True)
    assert surroundings.next_hop_answers(facts(""), at).standing is HOLDS
    unverified = facts(next_hop=NextHopFacts(None, why="tls_ca_file /x cannot be read", cannot_verify=True))
    assert mended(surroundings.next_hop_answers(unverified, at)).startswith("gatekeeper.toml: [nexthop]: tls_ca_file")


def test_a_next_hop_that_is_away_is_started_or_added_or_named():
    away = NextHopFacts(None, why="it took no connection")
    inner = service("127.0.0.1:10026")

    def said(known: Facts, listener: Service | None = None) -> str:
        return mended(surroundings.next_hop_answers(known, attachment(Mode.FRONT, inner=listener)))

    assert said(facts(SMTP, postfix(inner), next_hop=away), inner).startswith("as root: postfix reload")
    assert said(facts(SMTP, postfix(), next_hop=away)).startswith(
        "/etc/postfix/master.cf: 127.0.0.1:10026 inet n - n - - smtpd"
    )
    assert said(facts(SMTP, next_hop=away)).startswith("gatekeeper.toml: [servers.smtp]: next_hop = ")


def test_the_store_can_be_written():
    assert surroundings.store_writable(facts(), HERE).standing is HOLDS
    assert surroundings.store_writable(facts('[store]\nurl = "memory:"\n'), HERE).standing is HOLDS
    said = surroundings.store_writable(facts(store_fault="/var/lib/gatekeeper is not there"), HERE)
    assert mended(said) == 'gatekeeper.toml: [store]: url = "sqlite:/var/lib/gatekeeper/state.db"'
