"""Promises about the session: who is known to whom, what is seen of probing, one answer for each, in time."""

from __future__ import annotations

import itertools
from ipaddress import ip_address

from gatekeeper.doctor.facts import Attachment, Facts
from gatekeeper.doctor.postfix import LOOPBACK, Service, policy_check, restrictions, seconds, words
from gatekeeper.doctor.promise import Judgement, broken, holds, in_main, in_master, in_ours, listed, unknown
from gatekeeper.nexthop import NextHopUrl
from gatekeeper.servers.peers import UNIX, Peers

MARGIN = 10.0
"""Seconds between our last moment and Postfix's: for opening connections and for what a loaded machine loses."""


def no_postfix(facts: Facts) -> Judgement:
    return unknown(facts.why_no_postfix or "Postfix does not name our address in any service that it runs")


# --- who the client is -------------------------------------------------------------------------------------------


def front_shows_client(facts: Facts, attachment: Attachment) -> Judgement:
    """The listener behind us takes XCLIENT from us: as it says itself, or else as it is set."""
    hand_on = facts.configuration.nexthop.hand_on
    if hand_on == "proxy":
        return _front_shows_client_by_proxy(facts, attachment)
    if hand_on not in {"auto", "xclient"}:
        return broken(f'hand_on is "{hand_on}"', in_ours(facts, "nexthop", 'hand_on = "auto"'))
    smtp = facts.configuration.servers.smtp
    if smtp is not None and smtp.next_hop.startswith("lmtp"):
        return unknown("an LMTP server delivers and keeps no log of clients; our Received field names the client")
    host = our_address(facts)
    line = f"-o smtpd_authorized_xclient_hosts={host}"
    mend = in_master(facts, attachment.inner or "the listener behind us", line)
    if facts.next_hop is not None and facts.next_hop.capabilities is not None:
        if facts.next_hop.takes_xclient:
            return holds("the next hop takes XCLIENT from us")
        return broken("the next hop does not offer us XCLIENT: to it every client is gatekeeper", mend)
    if facts.postfix is None or attachment.inner is None:
        return unknown("the next hop did not answer, and its settings were not found", mend)
    hosts = words(facts.postfix.value("smtpd_authorized_xclient_hosts", attachment.inner))
    if covers(hosts, host):
        return holds(f"{attachment.inner} takes XCLIENT from {host}, as it is set")
    return broken(f"{attachment.inner} takes XCLIENT from nobody at {host}", mend)


def _front_shows_client_by_proxy(facts: Facts, attachment: Attachment) -> Judgement:
    """A listener that expects a PROXY header says nothing before it comes: only its setting tells."""
    if facts.postfix is None or attachment.inner is None:
        return unknown("the listener behind us was not found in master.cf")
    if facts.postfix.value("smtpd_upstream_proxy_protocol", attachment.inner) == "haproxy":
        return holds(f"{attachment.inner} takes the client from our PROXY header")
    mend = in_master(facts, attachment.inner, "-o smtpd_upstream_proxy_protocol=haproxy")
    return broken(f"{attachment.inner} does not expect the PROXY header that we send", mend)


def behind_shows_client(facts: Facts, attachment: Attachment) -> Judgement:
    """Postfix took the session and shows it; the second time, behind us, by XFORWARD."""
    if facts.postfix is None or attachment.inner is None:
        return unknown("the listener behind us was not found in master.cf")
    host = our_address(facts)
    if covers(words(facts.postfix.value("smtpd_authorized_xforward_hosts", attachment.inner)), host):
        return holds("Postfix talks to the client itself, and hands its name on through us by XFORWARD")
    return broken(
        f"{attachment.inner} takes XFORWARD from nobody at {host}: its log lines show gatekeeper as the client",
        in_master(facts, attachment.inner, f"-o smtpd_authorized_xforward_hosts={host}"),
    )


def behind_knows_client(facts: Facts, attachment: Attachment) -> Judgement:
    """XFORWARD is believed from those in `trust` only; to everybody else it is not even offered."""
    smtp = facts.configuration.servers.smtp
    if smtp is None or attachment.endpoint is None:
        return no_postfix(facts)
    peer = UNIX if attachment.endpoint.path else attachment.endpoint.host
    trusted = Peers(smtp.trust)
    try:
        address = None if peer == UNIX else ip_address(peer)
    except ValueError:
        return unknown(f"whether Postfix reaches {peer} from an address in [servers.smtp] trust")
    if address in trusted:
        return holds("Postfix is trusted to tell us the client by XFORWARD")
    if address is not None and not address.is_loopback:
        return unknown(f"whether Postfix reaches {peer} from an address in [servers.smtp] trust")
    wanted = UNIX if address is None else f"{address}/{address.max_prefixlen}"
    return broken(
        f"Postfix ({peer}) is not trusted: every client is judged as if it were Postfix",
        in_ours(facts, "servers.smtp", f"trust = {listed([*smtp.trust, wanted])}"),
    )


def our_address(facts: Facts) -> str:
    """The address that the next hop sees us at, as far as it can be known: its own, where that is this machine."""
    smtp = facts.configuration.servers.smtp
    host = NextHopUrl.parse(smtp.next_hop).host if smtp is not None else None
    return host if host in LOOPBACK else "127.0.0.1" if host in {None, "localhost"} else "OUR-ADDRESS"


def covers(patterns: tuple[str, ...], host: str) -> bool:
    """Whether a Postfix list of hosts names that address; of tables and host names nothing is known: then it may."""
    for pattern in patterns:
        try:
            if ip_address(host) in Peers((pattern.replace("[", "").replace("]", ""),)):
                return True
        except ValueError:
            if pattern in {"localhost", "$mynetworks", "static:all"} or ":" in pattern or host == "OUR-ADDRESS":
                return True
    return False


# --- probing -----------------------------------------------------------------------------------------------------


def vrfy_silent(facts: Facts, attachment: Attachment) -> Judgement:
    """Postfix answers VRFY: 252 for who exists and 550 for who does not, unless it is switched off."""
    line = "disable_vrfy_command = yes"
    if facts.postfix is None or not attachment.entrances:
        return unknown(no_postfix(facts).why, in_main(facts, line))
    for service in attachment.entrances:
        if facts.postfix.value("disable_vrfy_command", service) != "yes":
            override = "disable_vrfy_command" in service.overrides
            mend = in_master(facts, service, f"-o {line.replace(' ', '')}") if override else in_main(facts, line)
            return broken(f"{service} answers VRFY with who exists", mend)
    return holds("Postfix refuses VRFY, and knows no EXPN")


_NOBODY_CODES = {
    "unverified_recipient_reject_code": "reject_unverified_recipient",
    "unknown_local_recipient_reject_code": "",
    "unknown_relay_recipient_reject_code": "",
    "unknown_virtual_alias_reject_code": "",
    "unknown_virtual_mailbox_reject_code": "",
}
"""What Postfix answers where there is no such mailbox, and the restriction without which it does not."""


def front_sees_harvesting(facts: Facts, attachment: Attachment) -> Judgement:
    if facts.postfix is not None and attachment.inner is not None:
        put_off = _puts_off_unknown_names(facts, attachment.inner)
        if put_off is not None:
            return put_off
    return holds("we pass on the next hop's answer to each recipient, and count the refusals")


def _puts_off_unknown_names(facts: Facts, service: Service) -> Judgement | None:
    """A mailbox that does not exist is told from one that does by a 4xx too, which is not counted: a mailbox of which
    nothing is known at the moment is answered alike.
    """
    if facts.postfix is None:
        return None
    lists = ("client", "helo", "sender", "relay", "recipient")
    given = {one for each in lists for one in restrictions(facts.postfix.value(f"smtpd_{each}_restrictions", service))}
    for name, needs in _NOBODY_CODES.items():
        code = facts.postfix.value(name, service)
        if code.startswith("4") and (not needs or needs in given):
            why = f"{service} answers {code} for a mailbox that does not exist ({name}), which is not counted"
            own = name in service.overrides
            mend = in_master(facts, service, f"-o {name}=550") if own else in_main(facts, f"{name} = 550")
            return broken(why, mend)
    return None


def milter_sees_harvesting(facts: Facts, attachment: Attachment) -> Judgement:
    """Version 6 of the protocol tells a milter of recipients that Postfix refuses (SMFIP_RCPT_REJ)."""
    if facts.postfix is None or not attachment.entrances:
        return no_postfix(facts)
    for service in attachment.entrances:
        version = facts.postfix.value("milter_protocol", service)
        if version.isdecimal() and int(version) < 6:
            return broken(f"milter_protocol is {version}", in_main(facts, "milter_protocol = 6"))
        put_off = _puts_off_unknown_names(facts, service)
        if put_off is not None:
            return put_off
    return holds("Postfix shows us the recipients that it refuses (SMFIP_RCPT_REJ)")


def policy_sees_harvesting(facts: Facts, attachment: Attachment) -> Judgement:
    """A restriction that refuses ends the list: those behind it never hear of the name."""
    if facts.postfix is None or not attachment.entrances or attachment.endpoint is None:
        return no_postfix(facts)
    ours = attachment.endpoint.text
    for service in attachment.entrances:
        given = restrictions(facts.postfix.value("smtpd_recipient_restrictions", service))
        checks = [each for each in given if (asked := policy_check(each)) is not None and asked.text == ours]
        ahead = tuple(itertools.takewhile(_refuses_no_name, given))
        if given[len(ahead) : len(ahead) + 1] == tuple(checks[:1]) != ():
            continue
        first = checks[0] if checks else f"check_policy_service {ours}"
        value = ", ".join((*ahead, first, *(each for each in given[len(ahead) :] if each != first)))
        why = "stands behind others in" if checks else "does not stand in"
        name = "smtpd_recipient_restrictions"
        mend = (
            in_master(facts, service, f"-o {{ {name} = {value} }}")
            if name in service.overrides
            else in_main(facts, f"{name} = {value}")
        )
        return broken(f"{service}: our check {why} {name}; what others refuse never reaches us", mend)
    return holds("our check stands before whatever refuses in smtpd_recipient_restrictions")


def _refuses_no_name(restriction: str) -> bool:
    """What may stand before our check: it lets somebody of one's own pass, or looks at the domain alone."""
    return restriction.startswith("permit_") or restriction in {
        "reject_unauth_destination",
        "defer_unauth_destination",
    }


def policy_slows(facts: Facts, _attachment: Attachment) -> Judgement:
    """Each answer that is held back keeps one smtpd, so that there are few places, or none."""
    policy = facts.configuration.servers.policy_service
    if policy is not None and policy.slowed == 0:
        return broken("slowed is 0: no answer is held back", in_ours(facts, "servers.policy_service", "slowed = 10"))
    return holds("up to [servers.policy_service] slowed answers are held back, each of which keeps an smtpd process")


# --- answers -----------------------------------------------------------------------------------------------------


def behind_answers_each_recipient(facts: Facts, attachment: Attachment) -> Judgement:
    """With speed_adjust Postfix answers RCPT itself and talks to us only when the message is there."""
    if facts.postfix is None:
        return no_postfix(facts)
    for service in attachment.entrances:
        if "speed_adjust" in words(facts.postfix.value("smtpd_proxy_options", service)):
            return broken(
                f"{service} has speed_adjust: one recipient that is refused fails the message for all",
                in_master(facts, service, "-o smtpd_proxy_options="),
            )
    return holds("Postfix asks us for each recipient while the client waits")


def behind_in_time(facts: Facts, attachment: Attachment) -> Judgement:
    """Postfix waits smtpd_proxy_timeout for each answer; ours to the dot is judging and the next hop's together."""
    settings = facts.configuration
    limit = min((_timeout(facts, each, "smtpd_proxy_timeout", 100) for each in attachment.entrances), default=100.0)
    room = limit - settings.gate.at_message - MARGIN
    final = settings.nexthop.final
    if final < room:
        return holds(f"judging and the next hop take {settings.gate.at_message + final:g} s at most, of {limit:g} s")
    wanted = max(5, int(room) - 10)
    return broken(
        f"Postfix waits {limit:g} s for an answer; judging takes up to {settings.gate.at_message:g} s and we wait "
        f"{final:g} s for the next hop: Postfix gives up first, and its client may send again what was delivered",
        in_ours(facts, "nexthop", f'final = "{wanted}s"'),
    )


def milter_in_time(facts: Facts, attachment: Attachment) -> Judgement:
    if facts.postfix is None or not attachment.entrances:
        return no_postfix(facts)
    gate = facts.configuration.gate
    for name, needed in (("milter_command_timeout", gate.before_data), ("milter_content_timeout", gate.at_message)):
        option = name.removeprefix("milter_")
        for service in attachment.entrances:
            limit = _timeout(facts, service, name, 30)
            if attachment.endpoint is not None and option in attachment.endpoint.options:
                limit = seconds(attachment.endpoint.options[option], limit)
            if limit <= needed:
                key = "before_data" if name == "milter_command_timeout" else "at_message"
                wanted = max(1, int(limit * 0.8))
                mend = in_ours(facts, "gate", f'{key} = "{wanted}s"')
                return broken(f"{service} waits {limit:g} s ({name}), and judging may take {needed:g} s", mend)
    return holds("judging is over before milter_command_timeout and milter_content_timeout")


def policy_in_time(facts: Facts, attachment: Attachment) -> Judgement:
    if facts.postfix is None or not attachment.entrances:
        return no_postfix(facts)
    policy = facts.configuration.servers.policy_service
    needed = policy.deadline if policy is not None else facts.configuration.gate.before_data
    for service in attachment.entrances:
        limit = _timeout(facts, service, "smtpd_policy_service_timeout", 100)
        if attachment.endpoint is not None:
            limit = seconds(attachment.endpoint.options.get("timeout", ""), limit)
        if limit <= needed:
            mend = in_ours(facts, "servers.policy_service", f'deadline = "{max(1, int(limit * 0.6))}s"')
            return broken(f"{service} waits {limit:g} s for us, and our answer may take {needed:g} s", mend)
    return holds("our answers come before smtpd_policy_service_timeout")


def policy_marks(facts: Facts, attachment: Attachment) -> Judgement:
    """A field can be put before a message at RCPT or at DATA; at DATA only where Postfix asks then."""
    policy = facts.configuration.servers.policy_service
    if policy is None or policy.prepend == "never":
        return holds("[servers.policy_service] prepend is never: nobody wants it")
    if policy.prepend == "rcpt":
        return holds("X-Spam-Status is added at the first recipient")
    if facts.postfix is None or not attachment.entrances or attachment.endpoint is None:
        return no_postfix(facts)
    ours = attachment.endpoint.text
    for service in attachment.entrances:
        given = restrictions(facts.postfix.value("smtpd_data_restrictions", service))
        if not any((asked := policy_check(each)) is not None and asked.text == ours for each in given):
            value = ", ".join((f"check_policy_service {ours}", *given))
            mend = in_main(facts, f"smtpd_data_restrictions = {value}")
            if "smtpd_data_restrictions" in service.overrides:
                mend = in_master(facts, service, f"-o {{ smtpd_data_restrictions = {value} }}")
            return broken(f'{service} does not ask us at DATA, and prepend is "data"', mend)
    return holds("X-Spam-Status is added at DATA")


def milter_fails_safe(facts: Facts, attachment: Attachment) -> Judgement:
    if facts.postfix is None or not attachment.entrances:
        return no_postfix(facts)
    for service in attachment.entrances:
        action = facts.postfix.value("milter_default_action", service)
        if attachment.endpoint is not None:
            action = attachment.endpoint.options.get("default_action", action)
        if action != "tempfail":
            effect = {"accept": "passes unchecked", "quarantine": "is held"}.get(action, "is refused for good")
            return broken(
                f"{service}: milter_default_action is {action}, so that mail {effect} while we are away",
                in_main(facts, "milter_default_action = tempfail"),
            )
    return holds("milter_default_action is tempfail")


def policy_fails_safe(facts: Facts, attachment: Attachment) -> Judgement:
    if facts.postfix is None or not attachment.entrances:
        return no_postfix(facts)
    for service in attachment.entrances:
        action = facts.postfix.value("smtpd_policy_service_default_action", service)
        if attachment.endpoint is not None:
            action = attachment.endpoint.options.get("default_action", action)
        if action and not action.upper().startswith(("4", "DEFER")):
            return broken(
                f'{service}: smtpd_policy_service_default_action is "{action}"',
                in_main(facts, "smtpd_policy_service_default_action = 451 4.3.5 Try again later"),
            )
    return holds("Postfix puts mail off while we are away (smtpd_policy_service_default_action)")


def _timeout(facts: Facts, service: Service, name: str, default: float) -> float:
    return seconds(facts.postfix.value(name, service), default) if facts.postfix is not None else default
