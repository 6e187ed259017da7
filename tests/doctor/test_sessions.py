"""Promises about the session."""

import pytest

from gatekeeper.doctor import sessions
from gatekeeper.doctor.facts import Mode, NextHopFacts
from gatekeeper.doctor.postfix import Service
from gatekeeper.doctor.promise import Judgement, Standing
from gatekeeper.nexthop import Capabilities
from tests.support.doctor import SMTP, attachment, facts, postfix, service

HOLDS, BROKEN, UNKNOWN = Standing.HOLDS, Standing.BROKEN, Standing.UNKNOWN
POLICY = "inet:127.0.0.1:10028"


def mended(judgement: Judgement) -> str:
    assert judgement.standing is BROKEN, judgement
    return str(judgement.mend)


def test_in_front_the_next_hop_says_itself_whether_it_takes_xclient():
    inner = service("127.0.0.1:10026")
    at = attachment(Mode.FRONT, inner=inner)
    takes, does_not = (NextHopFacts(Capabilities({}), takes_xclient=each) for each in (True, False))
    assert sessions.front_shows_client(facts(next_hop=takes), at).standing is HOLDS
    assert mended(sessions.front_shows_client(facts(next_hop=does_not), at)) == (
        "/etc/postfix/master.cf: 127.0.0.1:10026 inet: -o smtpd_authorized_xclient_hosts=127.0.0.1"
    )


@pytest.mark.parametrize(
    ("hosts", "standing"),
    [
        ("127.0.0.1", HOLDS),
        ("127.0.0.0/8", HOLDS),
        ("[127.0.0.1]", HOLDS),
        ("localhost", HOLDS),
        ("192.0.2.1", BROKEN),
        ("", BROKEN),
    ],
)
def test_in_front_of_a_next_hop_that_is_away_its_settings_say_it(hosts, standing):
    inner = service("127.0.0.1:10026", smtpd_authorized_xclient_hosts=hosts)
    away = facts(SMTP, postfix(inner), next_hop=NextHopFacts(None, why="away"))
    assert sessions.front_shows_client(away, attachment(Mode.FRONT, inner=inner)).standing is standing


def test_in_front_nothing_is_known_of_a_next_hop_that_is_away_and_not_in_master_cf():
    assert sessions.front_shows_client(facts(), attachment(Mode.FRONT)).standing is UNKNOWN


def test_a_client_that_is_not_handed_on_is_not_shown():
    said = sessions.front_shows_client(facts(SMTP + '[nexthop]\nhand_on = "none"\n'), attachment(Mode.FRONT))
    assert mended(said) == 'gatekeeper.toml: [nexthop]: hand_on = "auto"'


def test_in_front_a_listener_that_gets_proxy_headers_expects_them():
    ready = service("127.0.0.1:10026", smtpd_upstream_proxy_protocol="haproxy")
    plain = service("127.0.0.1:10026")

    def said(inner: Service | None) -> Judgement:
        text = f'{SMTP}[nexthop]\nhand_on = "proxy"\n'
        known = facts(text, postfix(*([inner] if inner else [])))
        return sessions.front_shows_client(known, attachment(Mode.FRONT, inner=inner))

    assert said(ready).standing is HOLDS
    assert mended(said(plain)).endswith("-o smtpd_upstream_proxy_protocol=haproxy")
    assert said(None).standing is UNKNOWN


def test_behind_the_second_listener_takes_xforward():
    good = service("127.0.0.1:10026", smtpd_authorized_xforward_hosts="127.0.0.1")
    bad = service("127.0.0.1:10026")
    at = attachment(Mode.BEHIND, inner=good)
    assert sessions.behind_shows_client(facts(behind=postfix(good)), at).standing is HOLDS
    at = attachment(Mode.BEHIND, inner=bad)
    assert "smtpd_authorized_xforward_hosts=127.0.0.1" in mended(
        sessions.behind_shows_client(facts(behind=postfix(bad)), at)
    )
    assert sessions.behind_shows_client(facts(), at).standing is UNKNOWN


@pytest.mark.parametrize(
    ("trust", "endpoint", "standing", "line"),
    [
        ('["127.0.0.1/32"]', "127.0.0.1:10025", HOLDS, ""),
        ("[]", "127.0.0.1:10025", BROKEN, 'trust = ["127.0.0.1/32"]'),
        ('["192.0.2.0/24"]', "127.0.0.1:10025", BROKEN, 'trust = ["192.0.2.0/24", "127.0.0.1/32"]'),
        ('["127.0.0.1/32"]', "unix:/run/gatekeeper/smtp", BROKEN, 'trust = ["127.0.0.1/32", "unix"]'),
        ('["unix"]', "unix:/run/gatekeeper/smtp", HOLDS, ""),
        ("[]", "192.0.2.1:10025", UNKNOWN, ""),
        ("[]", "filter.example:10025", UNKNOWN, ""),
    ],
)
def test_behind_the_client_is_known_where_postfix_is_trusted(trust, endpoint, standing, line):
    here = facts(f"{SMTP}trust = {trust}\n", postfix())
    said = sessions.behind_knows_client(here, attachment(Mode.BEHIND, service(), endpoint=endpoint))
    assert said.standing is standing
    if line:
        assert said.mend is not None
        assert said.mend.line == line


def test_vrfy_is_silent_where_it_is_switched_off_in_every_service_that_asks_us():
    quiet, loud = service(disable_vrfy_command="yes"), service("submission")
    one = facts(behind=postfix(quiet, loud))
    assert sessions.vrfy_silent(one, attachment(Mode.MILTER, quiet)).standing is HOLDS
    assert mended(sessions.vrfy_silent(one, attachment(Mode.MILTER, quiet, loud))) == (
        "/etc/postfix/main.cf: disable_vrfy_command = yes"
    )
    told = service(disable_vrfy_command="no")
    everywhere = facts(behind=postfix(told, disable_vrfy_command="yes"))
    assert mended(sessions.vrfy_silent(everywhere, attachment(Mode.MILTER, told))) == (
        "/etc/postfix/master.cf: smtp inet: -o disable_vrfy_command=yes"
    )
    assert sessions.vrfy_silent(facts(), attachment(Mode.MILTER)).standing is UNKNOWN


def test_a_milter_sees_refused_recipients_from_version_6_on():
    at = attachment(Mode.MILTER, service())
    assert sessions.milter_sees_harvesting(facts(behind=postfix()), at).standing is HOLDS
    said = sessions.milter_sees_harvesting(facts(behind=postfix(milter_protocol="4")), at)
    assert mended(said).endswith("milter_protocol = 6")


@pytest.mark.parametrize(
    ("own", "main", "mend"),
    [
        ({}, {}, None),
        ({}, {"unverified_recipient_reject_code": "450"}, None),  # the default, of a restriction that is not in use
        (
            {},
            {"unverified_recipient_reject_code": "450", "smtpd_recipient_restrictions": "reject_unverified_recipient"},
            "main.cf: unverified_recipient_reject_code = 550",
        ),
        (
            {"smtpd_relay_restrictions": "permit_auth_destination,reject_unverified_recipient,reject"},
            {"unverified_recipient_reject_code": "450"},
            "main.cf: unverified_recipient_reject_code = 550",
        ),
        (
            {"unverified_recipient_reject_code": "450", "smtpd_recipient_restrictions": "reject_unverified_recipient"},
            {"unverified_recipient_reject_code": "550"},
            "inet: -o unverified_recipient_reject_code=550",
        ),
        (
            {},
            {"unverified_recipient_reject_code": "550", "smtpd_recipient_restrictions": "reject_unverified_recipient"},
            None,
        ),
        ({}, {"unknown_local_recipient_reject_code": "550"}, None),
        ({}, {"unknown_local_recipient_reject_code": "450"}, "main.cf: unknown_local_recipient_reject_code = 550"),
    ],
)
def test_names_that_postfix_puts_off_are_told_and_not_counted(own, main, mend):
    entrance = service(**own)
    here = facts(behind=postfix(entrance, **main))
    for said in (
        sessions.front_sees_harvesting(here, attachment(Mode.FRONT, inner=entrance)),
        sessions.milter_sees_harvesting(here, attachment(Mode.MILTER, entrance)),
    ):
        assert said.standing is (HOLDS if mend is None else BROKEN)
        if mend is not None:
            assert mended(said).endswith(mend)
            assert "is not counted" in said.why


def test_of_another_next_hop_nothing_is_asked():
    assert sessions.front_sees_harvesting(facts(), attachment(Mode.FRONT)).standing is HOLDS


@pytest.mark.parametrize(
    ("restrictions", "line"),
    [
        (f"check_policy_service {POLICY}, reject_unauth_destination", None),
        (f"permit_mynetworks, check_policy_service {POLICY}, reject_unlisted_recipient", None),
        (f"permit_mynetworks, reject_unauth_destination, check_policy_service {POLICY}", None),
        (
            f"permit_mynetworks, reject_unlisted_recipient, check_policy_service {POLICY}, check_client_access hash:/x",
            f"permit_mynetworks, check_policy_service {POLICY}, reject_unlisted_recipient, check_client_access hash:/x",
        ),
        ("permit_mynetworks", f"permit_mynetworks, check_policy_service {POLICY}"),
        ("", f"check_policy_service {POLICY}"),
    ],
)
def test_a_policy_service_sees_every_name_where_its_check_stands_first(restrictions, line):
    here = facts(behind=postfix(smtpd_recipient_restrictions=restrictions))
    said = sessions.policy_sees_harvesting(here, attachment(Mode.POLICY, service(), endpoint=POLICY))
    if line is None:
        assert said.standing is HOLDS
    else:
        assert mended(said) == f"/etc/postfix/main.cf: smtpd_recipient_restrictions = {line}"


def test_a_check_with_options_keeps_them_when_it_is_moved():
    check = f"check_policy_service {{ {POLICY}, timeout=20s }}"
    here = facts(behind=postfix(smtpd_recipient_restrictions=f"reject_unlisted_recipient, {check}"))
    said = sessions.policy_sees_harvesting(here, attachment(Mode.POLICY, service(), endpoint=POLICY))
    assert mended(said).endswith(f"= {check}, reject_unlisted_recipient")


def test_a_list_of_the_services_own_is_mended_in_the_service():
    own = service(smtpd_recipient_restrictions=f"reject_unlisted_recipient, check_policy_service {POLICY}")
    said = sessions.policy_sees_harvesting(facts(behind=postfix(own)), attachment(Mode.POLICY, own, endpoint=POLICY))
    assert mended(said).startswith("/etc/postfix/master.cf: smtp inet: -o { smtpd_recipient_restrictions = check_po")


def test_speed_adjust_takes_the_answers_of_the_recipients_away():
    fast, plain = service(smtpd_proxy_options="speed_adjust"), service()
    here = facts(behind=postfix(fast, plain))
    assert sessions.behind_answers_each_recipient(here, attachment(Mode.BEHIND, plain)).standing is HOLDS
    assert mended(sessions.behind_answers_each_recipient(here, attachment(Mode.BEHIND, fast))) == (
        "/etc/postfix/master.cf: smtp inet: -o smtpd_proxy_options="
    )


@pytest.mark.parametrize(("final", "standing"), [("5m", BROKEN), ("60s", BROKEN), ("59s", HOLDS), ("50s", HOLDS)])
def test_behind_the_next_hop_is_given_up_before_postfix_gives_us_up(final, standing):
    here = facts(f'{SMTP}[nexthop]\nfinal = "{final}"\n', postfix())
    said = sessions.behind_in_time(here, attachment(Mode.BEHIND, service()))
    assert said.standing is standing
    if standing is BROKEN:
        assert mended(said) == 'gatekeeper.toml: [nexthop]: final = "50s"'


def test_the_mend_for_time_mends():
    tight = service(smtpd_proxy_timeout="50s")
    here = facts(f'{SMTP}[nexthop]\nfinal = "20s"\n', postfix(tight))
    said = sessions.behind_in_time(here, attachment(Mode.BEHIND, tight))
    assert said.mend is not None
    after = facts(f"{SMTP}[nexthop]\n{said.mend.line}\n", postfix(tight))
    assert sessions.behind_in_time(after, attachment(Mode.BEHIND, tight)).standing is HOLDS


def test_a_milter_judges_within_the_time_that_it_has():
    here = facts(behind=postfix())
    at = attachment(Mode.MILTER, service(), endpoint="inet:127.0.0.1:10027")
    assert sessions.milter_in_time(here, at).standing is HOLDS
    hasty = attachment(Mode.MILTER, service(), endpoint="{ inet:127.0.0.1:10027, command_timeout = 5s }")
    assert mended(sessions.milter_in_time(here, hasty)) == 'gatekeeper.toml: [gate]: before_data = "4s"'
    short = facts(behind=postfix(milter_content_timeout="20s"))
    assert mended(sessions.milter_in_time(short, at)) == 'gatekeeper.toml: [gate]: at_message = "16s"'


def test_a_policy_service_judges_within_the_time_that_it_has():
    here = facts("[servers.policy_service]\n", postfix())
    assert sessions.policy_in_time(here, attachment(Mode.POLICY, service(), endpoint=POLICY)).standing is HOLDS
    hasty = attachment(Mode.POLICY, service(), endpoint=f"{{ {POLICY}, timeout = 10s }}")
    assert mended(sessions.policy_in_time(here, hasty)) == (
        'gatekeeper.toml: [servers.policy_service]: deadline = "6s"'
    )


def test_a_policy_service_marks_mail_where_postfix_asks_at_data():
    at = attachment(Mode.POLICY, service(), endpoint=POLICY)
    section = "[servers.policy_service]\n"
    asked = postfix(smtpd_data_restrictions=f"check_policy_service {POLICY}")
    assert sessions.policy_marks(facts(section, asked), at).standing is HOLDS
    unasked = postfix(smtpd_data_restrictions="reject_unauth_pipelining")
    assert mended(sessions.policy_marks(facts(section, unasked), at)) == (
        f"/etc/postfix/main.cf: smtpd_data_restrictions = check_policy_service {POLICY}, reject_unauth_pipelining"
    )
    own = service(smtpd_data_restrictions="")
    said = sessions.policy_marks(facts(section, asked), attachment(Mode.POLICY, own, endpoint=POLICY))
    assert mended(said).startswith("/etc/postfix/master.cf: smtp inet: -o { smtpd_data_restrictions = check_policy")
    for prepend in ("rcpt", "never"):
        assert sessions.policy_marks(facts(f'{section}prepend = "{prepend}"\n', unasked), at).standing is HOLDS
    assert sessions.policy_marks(facts(section), attachment(Mode.POLICY)).standing is UNKNOWN


def test_a_policy_service_slows_as_many_as_it_is_let():
    at, section = attachment(Mode.POLICY), "[servers.policy_service]\n"
    assert sessions.policy_slows(facts(section), at).standing is HOLDS
    said = sessions.policy_slows(facts(f"{section}slowed = 0\n"), at)
    assert mended(said) == "gatekeeper.toml: [servers.policy_service]: slowed = 10"


def test_while_we_are_away_mail_waits():
    at = attachment(Mode.MILTER, service(), endpoint="inet:127.0.0.1:10027")
    assert sessions.milter_fails_safe(facts(behind=postfix()), at).standing is HOLDS
    for action in ("accept", "reject"):
        said = sessions.milter_fails_safe(facts(behind=postfix(milter_default_action=action)), at)
        assert mended(said).endswith("milter_default_action = tempfail")
    at = attachment(Mode.POLICY, service(), endpoint=POLICY)
    assert sessions.policy_fails_safe(facts(behind=postfix()), at).standing is HOLDS
    through = attachment(Mode.POLICY, service(), endpoint=f"{{ {POLICY}, default_action = DUNNO }}")
    assert sessions.policy_fails_safe(facts(behind=postfix()), through).standing is BROKEN


@pytest.mark.parametrize(
    "judge",
    [
        sessions.milter_sees_harvesting,
        sessions.policy_sees_harvesting,
        sessions.milter_in_time,
        sessions.policy_in_time,
        sessions.milter_fails_safe,
        sessions.policy_fails_safe,
    ],
)
def test_without_postfix_nothing_is_said_about_it(judge):
    assert judge(facts(), attachment(Mode.MILTER)).standing is UNKNOWN
