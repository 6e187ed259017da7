"""The promise never to be an open relay, at every door that Postfix and we have between us."""

from __future__ import annotations

from typing import Final

from gatekeeper.doctor.facts import Attachment, Facts
from gatekeeper.doctor.postfix import Service, closes, trusts_local, words
from gatekeeper.doctor.promise import Judgement, broken, holds, in_main, in_master, unknown
from gatekeeper.doctor.sessions import no_postfix

CLOSED: Final = "-o smtpd_relay_restrictions=reject_unauth_destination"
OPEN_WORLD: Final = frozenset({"0.0.0.0/0", "[::]/0", "::/0"})


def front_closed(facts: Facts, attachment: Attachment) -> Judgement:
    """The listener behind us sees every client come from us: it must trust nobody for being local."""
    domains = facts.configuration.relay_domains
    if facts.postfix is None or attachment.inner is None:
        if domains:
            return holds("relay_domains is set: we refuse every other recipient ourselves")
        return unknown("the listener behind us was not found in master.cf; we ask it at start, and end if it relays")
    if listener_trusts_local(facts, attachment.inner):
        why = "only relay_domains keeps it closed" if domains else "whoever connects to us may send anywhere"
        return broken(
            f"{attachment.inner} takes mail for any domain from local clients, as we are; {why}",
            in_master(facts, attachment.inner, CLOSED),
        )
    return holds(f"{attachment.inner} has reject_unauth_destination before anything that trusts a local client")


def behind_closed(facts: Facts, attachment: Attachment) -> Judgement:
    entrance = entrance_closed(facts, attachment)
    if entrance.mend is not None or facts.postfix is None:
        return entrance
    inner = attachment.inner
    if inner is not None and listener_trusts_local(facts, inner):
        mend = in_master(facts, inner, CLOSED)
        if not facts.configuration.relay_domains:
            return broken(f"{inner} takes mail for any domain from local clients, as we are", mend)
        return holds(f"{inner} trusts local clients, as we are; relay_domains keeps strangers out", advice=mend)
    return entrance


def entrance_closed(facts: Facts, attachment: Attachment) -> Judgement:
    """Postfix talks to the clients itself: its own restrictions say who may send where."""
    if facts.postfix is None or not attachment.entrances:
        return no_postfix(facts)
    world = OPEN_WORLD & set(words(facts.postfix.value("mynetworks")))
    if world:
        return broken(f"mynetworks has {', '.join(sorted(world))}", in_main(facts, "mynetworks_style = host"))
    for service in attachment.entrances:
        names = ("smtpd_relay_restrictions", "smtpd_recipient_restrictions")
        if not any(closes(facts.postfix.value(name, service)) for name in names):
            line = "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"
            mend = in_main(facts, f"smtpd_relay_restrictions = {line}")
            if names[0] in service.overrides:
                mend = in_master(facts, service, f"-o smtpd_relay_restrictions={line.replace(' ', '')}")
            return broken(f"{service} takes mail for any domain from anybody", mend)
    return holds("Postfix refuses strangers' mail for other domains (smtpd_relay_restrictions)")


def listener_trusts_local(facts: Facts, service: Service) -> bool:
    if facts.postfix is None:
        return False
    names = ("smtpd_relay_restrictions", "smtpd_recipient_restrictions")
    return all(trusts_local(facts.postfix.value(name, service)) for name in names)
