"""Which modes are set up."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

from gatekeeper.config import Configuration
from gatekeeper.doctor.attachments import attachments, paths
from gatekeeper.doctor.facts import Attachment, Mode
from tests.support.doctor import SMTP, facts, postfix, service


def opened(**servers: str) -> Configuration:
    """A configuration with these servers, each listening there."""
    named: dict[str, Any] = dict.fromkeys(("smtp", "milter", "policy_service", "http"))
    named |= {name: SimpleNamespace(listen=(listen,)) for name, listen in servers.items()}
    return cast(Configuration, SimpleNamespace(servers=SimpleNamespace(**named)))


def modes(found: Iterable[Attachment]) -> list[Mode]:
    return [each.mode for each in found]


def test_without_postfix_the_smtp_server_stands_in_front():
    found = attachments(facts(SMTP).configuration, None)
    assert modes(found) == [Mode.FRONT, Mode.ALL]
    assert found[0].inner is None


def test_the_listener_behind_us_is_the_service_at_the_next_hop():
    inner = service("127.0.0.1:10026")
    [front, _] = attachments(facts(SMTP).configuration, postfix(service(), inner))
    assert (front.mode, front.inner, front.entrances) == (Mode.FRONT, inner, ())


def test_a_service_that_has_us_for_its_proxy_stands_in_front_of_us():
    entrance, inner = service(smtpd_proxy_filter="127.0.0.1:10025"), service("127.0.0.1:10026")
    [behind, _] = attachments(facts(SMTP).configuration, postfix(entrance, inner))
    assert (behind.mode, behind.entrances, behind.inner) == (Mode.BEHIND, (entrance,), inner)
    other = service(smtpd_proxy_filter="127.0.0.1:10099")
    assert modes(attachments(facts(SMTP).configuration, postfix(other, inner))) == [Mode.FRONT, Mode.ALL]


def test_milter_and_policy_service_are_found_in_main_cf_and_in_services():
    with_check = service("submission", smtpd_recipient_restrictions="check_policy_service inet:127.0.0.1:10028")
    behind = postfix(service(), with_check, smtpd_milters="unix:/opendkim, inet:localhost:10027")
    configuration = opened(milter="127.0.0.1:10027", policy_service="0.0.0.0:10028")
    [milter, policy, _] = attachments(configuration, behind)
    assert (milter.mode, len(milter.entrances)) == (Mode.MILTER, 2)
    assert milter.endpoint is not None
    assert milter.endpoint.text == "inet:localhost:10027"
    assert (policy.mode, policy.entrances) == (Mode.POLICY, (with_check,))


def test_a_server_that_nobody_asks_is_there_without_entrances():
    [milter, _] = attachments(opened(milter="127.0.0.1:10027"), postfix(service()))
    assert (milter.mode, milter.entrances, milter.endpoint) == (Mode.MILTER, (), None)


def test_a_chrooted_service_finds_its_sockets_below_the_queue_directory():
    inside = "/var/spool/postfix/gatekeeper/milter"
    behind = postfix(service(chroot=True), smtpd_milters="unix:/gatekeeper/milter")
    [milter, _] = attachments(opened(milter=f"unix:{inside}"), behind)
    assert milter.entrances
    assert paths("/gatekeeper/milter", behind, service(chroot=True))[0] == inside
    assert paths("/gatekeeper/milter", behind, service())[0] == "/gatekeeper/milter"
    assert paths("gatekeeper/milter", behind, service()) == (inside,)


def test_a_socket_of_systemds_is_taken_for_ours_by_its_path():
    configuration = opened(milter="systemd:milter")
    ours = postfix(service(), smtpd_milters="unix:/gatekeeper/milter")
    assert attachments(configuration, ours)[0].entrances
    assert not attachments(configuration, postfix(service(), smtpd_milters="unix:/opendkim"))[0].entrances
