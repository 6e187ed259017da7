"""Never an open relay."""

import pytest

from gatekeeper.doctor import relaying
from gatekeeper.doctor.facts import Mode
from gatekeeper.doctor.postfix import Service
from gatekeeper.doctor.promise import Judgement, Standing
from tests.support.doctor import SMTP, attachment, facts, postfix, service

HOLDS, BROKEN, UNKNOWN = Standing.HOLDS, Standing.BROKEN, Standing.UNKNOWN
DOMAINS = f'relay_domains = ["example.org"]\n{SMTP}'
CLOSED = "/etc/postfix/master.cf: 127.0.0.1:10026 inet: -o smtpd_relay_restrictions=reject_unauth_destination"


def listener(relay: str, recipient: str = "") -> Service:
    return service("127.0.0.1:10026", smtpd_relay_restrictions=relay, smtpd_recipient_restrictions=recipient)


@pytest.mark.parametrize(
    ("relay", "recipient", "standing"),
    [
        ("reject_unauth_destination", "", HOLDS),
        ("permit_mynetworks,reject_unauth_destination", "reject_unauth_destination", HOLDS),
        ("permit_mynetworks,reject_unauth_destination", "", BROKEN),
        ("permit_mynetworks,reject_unauth_destination", "permit_mynetworks,reject", BROKEN),
        ("permit_inet_interfaces,reject_unauth_destination", "", BROKEN),
        ("", "", BROKEN),
    ],
)
@pytest.mark.parametrize("text", [SMTP, DOMAINS])
def test_in_front_the_listener_trusts_nobody_for_being_local(text, relay, recipient, standing):
    inner = listener(relay, recipient)
    said = relaying.front_closed(facts(text, postfix(inner)), attachment(Mode.FRONT, inner=inner))
    assert said.standing is standing
    if standing is BROKEN:
        assert str(said.mend) == CLOSED


def test_without_postfix_relay_domains_keeps_it_closed():
    assert relaying.front_closed(facts(DOMAINS), attachment(Mode.FRONT)).standing is HOLDS
    assert relaying.front_closed(facts(SMTP), attachment(Mode.FRONT)).standing is UNKNOWN


def test_the_entrance_refuses_strangers():
    closed = service()
    at = attachment(Mode.MILTER, closed)
    assert relaying.entrance_closed(facts(behind=postfix(closed)), at).standing is HOLDS
    said = relaying.entrance_closed(facts(behind=postfix(smtpd_relay_restrictions="permit")), at)
    assert str(said.mend) == (
        "/etc/postfix/main.cf: "
        "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"
    )
    own = service(smtpd_relay_restrictions="permit_mynetworks")
    said = relaying.entrance_closed(facts(behind=postfix(own)), attachment(Mode.MILTER, own))
    assert str(said.mend).startswith("/etc/postfix/master.cf: smtp inet: -o smtpd_relay_restrictions=permit_mynetwork")
    assert relaying.entrance_closed(facts(), at).standing is UNKNOWN


def test_the_whole_world_is_nobodys_own_network():
    at = attachment(Mode.MILTER, service())
    said = relaying.entrance_closed(facts(behind=postfix(mynetworks="127.0.0.0/8, 0.0.0.0/0")), at)
    assert said.standing is BROKEN
    assert "0.0.0.0/0" in said.why


def test_behind_both_doors_count():
    entrance = service(smtpd_proxy_filter="127.0.0.1:10025")
    shut, open_ = listener("reject_unauth_destination"), listener("permit_mynetworks,reject")

    def said(text: str, inner: Service, first: Service = entrance) -> Judgement:
        return relaying.behind_closed(facts(text, postfix(first, inner)), attachment(Mode.BEHIND, first, inner=inner))

    assert said(SMTP, shut).standing is HOLDS
    assert str(said(SMTP, open_).mend) == CLOSED
    assert said(SMTP, open_).standing is BROKEN
    with_domains = said(DOMAINS, open_)  # how hosts of one's own may send anywhere
    assert with_domains.standing is HOLDS
    assert with_domains.mend is not None
    assert said(SMTP, shut, service(smtpd_relay_restrictions="permit")).standing is BROKEN
