"""Promises about what stands around gatekeeper in any mode: sockets, trust, DNS, other doors, the store."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import collapse_addresses, ip_network
from typing import Final

from gatekeeper.dns.fresh import PUBLIC_RESOLVERS
from gatekeeper.doctor.attachments import attachments, led_astray, paths
from gatekeeper.doctor.facts import Attachment, Facts, Mode, Port
from gatekeeper.doctor.postfix import Endpoint, Postfix, Service, words
from gatekeeper.doctor.promise import (
    Judgement,
    Mend,
    broken,
    holds,
    in_main,
    in_master,
    in_ours,
    listed,
    unknown,
)
from gatekeeper.nexthop import NextHopUrl
from gatekeeper.servers.peers import UNIX
from gatekeeper.wire.listen import TcpAddress, UnixAddress, read_listen

WIDEST: Final = {4: 7, 6: 15}
"""A network with a shorter prefix is the world, or a good part of it, and never somebody's own."""

SOCKET: Final = "gatekeeper/milter"
POLICY_SOCKET: Final = "gatekeeper/policy"


# --- what Postfix needs to find us -------------------------------------------------------------------------------


def asked(facts: Facts, attachment: Attachment) -> Judgement:
    """A server that nobody asks protects nobody."""
    if facts.postfix is None:
        return unknown(facts.why_no_postfix)
    if attachment.entrances:
        return holds("asked by " + ", ".join(map(str, attachment.entrances)))
    where = _endpoint(attachment, facts.postfix)
    before = facts.postfix.value("smtpd_milters" if attachment.mode is Mode.MILTER else "smtpd_recipient_restrictions")
    if attachment.mode is Mode.MILTER:
        line = f"smtpd_milters = {', '.join(part for part in (before, where) if part)}"
    else:
        check = f"check_policy_service {where}"
        line = f"smtpd_recipient_restrictions = {', '.join(part for part in (check, before) if part)}"
    return broken("no service of Postfix asks us", in_main(facts, line))


def _endpoint(attachment: Attachment, postfix: Postfix) -> str:
    """Below the queue directory relative to it: chrooted or not, every service of Postfix reads that alike."""
    queue = postfix.value("queue_directory").rstrip("/")
    for address in attachment.listen:
        if isinstance(address, UnixAddress):
            return f"unix:{address.path.removeprefix(f'{queue}/')}"
        if isinstance(address, TcpAddress):
            host = (
                "127.0.0.1"
                if str(address.host) == "0.0.0.0"
                else "::1"
                if address.host.is_unspecified
                else address.host
            )
            return f"inet:[{host}]:{address.port}" if ":" in str(host) else f"inet:{host}:{address.port}"
    return f"unix:{POLICY_SOCKET if attachment.mode is Mode.POLICY else SOCKET}"


def socket_reachable(facts: Facts, attachment: Attachment) -> Judgement:
    """A chrooted smtpd sees nothing above the queue directory, and runs as its own user."""
    ours = [each for each in attachment.listen if isinstance(each, UnixAddress)]
    if attachment.endpoint is not None and attachment.endpoint.path and not ours:
        return _systemds_socket(facts, attachment)
    if not ours:
        return holds("there is no UNIX socket between Postfix and us")
    if facts.postfix is None:
        return unknown(facts.why_no_postfix)
    queue = facts.postfix.value("queue_directory").rstrip("/")
    group = facts.postfix.value("mail_owner") or "postfix"
    chrooted = [each for each in attachment.entrances or facts.postfix.sessions if each.chroot]
    section = {Mode.MILTER: "servers.milter", Mode.POLICY: "servers.policy_service"}.get(
        attachment.mode, "servers.smtp"
    )
    for address in ours:
        name = address.path.rpartition("/")[2]
        inside = address.path.startswith(f"{queue}/")
        path = address.path if inside or not chrooted else f"{queue}/gatekeeper/{name}"
        mend = in_ours(facts, section, f"listen = {listed([f'unix:{path}?mode=0660&group={group}'])}")
        if chrooted and not inside:
            return broken(f"{chrooted[0]} is chrooted to {queue} and cannot see {address.path}", mend)
        everybody = address.mode & 0o006 == 0o006
        if not everybody and (address.group is None or address.mode & 0o060 != 0o060):
            return broken(f"{address.path} is closed to the user {group}, who runs smtpd", mend)
        if facts.barred.get(address.path):
            return broken(f"{address.path}: {facts.barred[address.path]}", mend)
    lost = led_astray(attachment, facts.postfix)
    if lost is not None:
        service, written = lost
        place = paths(written.path, facts.postfix, service)[0]
        mend = _led_right(facts, service, attachment, written)
        return broken(f"{service} looks for our socket at {place}, where it is not", mend)
    return holds("Postfix can open our socket")


def _led_right(facts: Facts, service: Service, attachment: Attachment, written: Endpoint) -> Mend:
    """Where the address stands now, the right one; what stands beside it stays."""
    assert facts.postfix is not None  # noqa: S101  # or nobody could have been led astray
    right = _endpoint(attachment, facts.postfix)
    if attachment.mode is Mode.POLICY:
        return in_main(facts, f"check_policy_service {right}")
    name = "smtpd_milters" if attachment.mode is Mode.MILTER else "smtpd_proxy_filter"
    value = facts.postfix.value(name, service).replace(written.text, right)
    if name in service.overrides:
        return in_master(facts, service, f"-o {name}={','.join(words(value))}")
    return in_main(facts, f"{name} = {value}")


def _systemds_socket(facts: Facts, attachment: Attachment) -> Judgement:
    """The unit says where it is and whose, and we see it only once it is there."""
    if facts.postfix is None or attachment.endpoint is None:
        return unknown(facts.why_no_postfix)
    for service in attachment.entrances:
        path = paths(attachment.endpoint.path, facts.postfix, service)[0]
        barrier = facts.barred.get(path)
        if barrier is None:
            return unknown(f"{path} is not there yet: systemd makes it when the socket unit starts")
        if barrier:
            mend = Mend("the socket unit of systemd", "SocketUser=postfix", "[Socket]")
            return broken(f"{path}: {barrier}", mend)
    return holds("Postfix can open the socket that systemd made")


def milter_is_quick(facts: Facts, attachment: Attachment) -> Judgement:
    """Nagle's algorithm meets delayed acknowledgement between Postfix and a milter: once for each message."""
    if not any(isinstance(each, TcpAddress) for each in attachment.listen):
        return holds("a UNIX socket costs no waiting")
    queue = facts.postfix.value("queue_directory").rstrip("/") if facts.postfix is not None else "/var/spool/postfix"
    line = f"listen = {listed([f'unix:{queue}/{SOCKET}?mode=0660&group=postfix'])}"
    return holds(
        "TCP between Postfix and a milter costs 42 ms for each message, in waiting; a UNIX socket does not",
        advice=in_ours(facts, "servers.milter", line),
    )


# --- listeners ---------------------------------------------------------------------------------------------------


def ports_open(facts: Facts, _attachment: Attachment) -> Judgement:
    unseen = []
    for written, port in facts.ports.items():
        if port is Port.TAKEN:
            mend = Mend(facts.file, f'listen = ["…"] with another port, or stop the other program on {written}')
            return broken(f"another program answers at {written}", mend)
        if port is Port.NOT_HERE:
            return broken(f"this machine does not have the address of {written}", in_ours(facts, "", 'listen = ["…"]'))
        if port in {Port.FORBIDDEN, Port.UNSEEN}:
            unseen.append(written)
    if unseen:
        return unknown(f"{', '.join(unseen)}: only the service itself, or systemd, can open that")
    return holds("each of our addresses answers as ours, or is free")


def certificate_good(facts: Facts, _attachment: Attachment) -> Judgement:
    found = facts.certificate
    if found is None:
        return holds("no TLS is set up")
    mend = in_ours(facts, "servers.smtp.tls", f'certificate = "{found.certificate}", key = "{found.key}"')
    if found.faults:
        return broken("; ".join(found.faults), mend)
    if found.days_left is not None and found.days_left < 14:
        return holds(f"the certificate is good for {found.days_left:.0f} more days only", advice=mend)
    return holds("the certificate can be read, is in force, and fits its key")


def http_private(facts: Facts, _attachment: Attachment) -> Judgement:
    http = facts.configuration.servers.http
    if http is None:
        return holds("there is no HTTP server")
    for written in http.listen:
        address = read_listen(written)
        if isinstance(address, TcpAddress) and not address.host.is_loopback:
            near = f"[::1]:{address.port}" if address.host.version == 6 else f"127.0.0.1:{address.port}"
            why = f"whoever can reach {written} reads our numbers"
            if http.token:
                why += ": the token is for messages to be checked, /metrics, /readyz and /healthz do not ask for it"
            return broken(why, in_ours(facts, "servers.http", f'listen = ["{near}"]'))
    return holds("it listens on loopback or a UNIX socket only")


def trust_narrow(facts: Facts, _attachment: Attachment) -> Judgement:
    """Several halves of the world are the world too."""
    servers = facts.configuration.servers
    for section, server in (
        ("smtp", servers.smtp),
        ("milter", servers.milter),
        ("policy_service", servers.policy_service),
    ):
        for name, may in _TRUSTING.items():
            given: tuple[str, ...] = getattr(server, name, ())
            wide = _wide(given)
            if wide:
                kept = [each for each in given if each == UNIX or not _wide([each])]
                mend = in_ours(facts, f"servers.{section}", f"{name} = {listed(kept or ['127.0.0.1/32'])}")
                return broken(f"{name} has {wide}: whoever comes from there may {may}", mend)
    return holds("no setting trusts more than somebody's own networks")


_TRUSTING: Final = {
    "trust": "say that it is any client",
    "ours": "send mail to any domain",
    "exempt_networks": "send mail that is not judged",
}
"""Settings that name networks, of whichever server has them, and what they allow."""


def _wide(given: Iterable[str]) -> str:
    networks = [ip_network(each, strict=False) for each in given if each != UNIX]
    for version in (4, 6):
        for network in collapse_addresses(each for each in networks if each.version == version):  # type: ignore[type-var]  # one version at a time
            if network.prefixlen <= WIDEST[version]:
                return str(network)
    return ""


# --- DNS ---------------------------------------------------------------------------------------------------------


def resolver_own(facts: Facts, _attachment: Attachment) -> Judgement:
    mend = in_ours(facts, "dns", 'nameservers = ["127.0.0.1:53"]')
    for nameserver in facts.resolver.nameservers:
        owner = PUBLIC_RESOLVERS.get(nameserver)
        if owner is not None:
            why = f"{nameserver} is {owner}'s public resolver, which DNS lists refuse: run one of your own (unbound)"
            return broken(why, mend)
    if not facts.resolver.nameservers:
        return unknown("no nameserver is named, neither by us nor by /etc/resolv.conf", mend)
    return holds(f"{', '.join(facts.resolver.nameservers)}: none that is known to be everybody's")


def resolver_answers(facts: Facts, _attachment: Attachment) -> Judgement:
    mend = in_ours(facts, "dns", 'nameservers = ["127.0.0.1:53"]')
    if not facts.resolver.answers:
        return broken(facts.resolver.why or "it does not answer", mend)
    if facts.resolver.invents:
        return broken("it has an address for a name that cannot exist: every DNS list would list everybody", mend)
    return holds("it answers, and knows nothing of a name that cannot exist")


def mx_only_us(facts: Facts, _attachment: Attachment) -> Judgement:
    """A secondary MX without the same checks is where spam goes first."""
    if not facts.configuration.relay_domains:
        return unknown("relay_domains does not say for which domains we take mail")
    if not facts.exchanges:
        return unknown("no MX of " + ", ".join(facts.configuration.relay_domains[:5]) + " was found")
    away = [each for each in facts.exchanges if each.elsewhere]
    if not away:
        return holds("every MX of relay_domains is this machine")
    shown = ", ".join(f"{each.domain} MX {each.host} ({each.elsewhere[0]})" for each in away[:5])
    if len(away) == len(facts.exchanges):
        return unknown(f"{shown}: not an address of this machine; behind NAT that is as it should be")
    return unknown(f"{shown} is not this machine: unless gatekeeper stands there too, mail goes round us")


def one_door(facts: Facts, _attachment: Attachment) -> Judgement:
    """Postfix's own port 25, where it is open to others and does not ask us."""
    if facts.postfix is None:
        return unknown(facts.why_no_postfix)
    asking = {
        service.name: service
        for attachment in attachments(facts.configuration, facts.postfix)
        for service in attachment.entrances
    }
    for service in facts.postfix.services:
        if service.port != 25 or not facts.postfix.is_public(service):
            continue
        # postscreen hands its sessions to the smtpd of type pass
        asks = any(each.type == "pass" for each in asking.values()) if service.command == "postscreen" else False
        if not asks and service.name not in asking:
            line = "127.0.0.1:smtp inet n - y - - smtpd"
            return broken(f"{service} takes mail from outside without asking us", in_master(facts, "", line))
    return holds("Postfix has no port 25 that is open to others and does not ask us")


# --- next hop and store ------------------------------------------------------------------------------------------


def next_hop_answers(facts: Facts, attachment: Attachment) -> Judgement:
    """What it lacks, our clients are not offered: mail that needs it is refused by the last server before us."""
    smtp = facts.configuration.servers.smtp
    if facts.next_hop is None or smtp is None:
        return holds("no server of ours has a next hop")
    if facts.next_hop.cannot_verify:
        mend = in_ours(facts, "nexthop", 'tls_ca_file = "…", tls_name = "…"')
        return broken(facts.next_hop.why, mend)
    if facts.next_hop.capabilities is None:
        return broken(facts.next_hop.why, _raise_next_hop(facts, attachment, smtp.next_hop))
    missing = [each for each in ("SIZE", "8BITMIME", "SMTPUTF8") if not facts.next_hop.capabilities.offers(each)]
    if missing:
        return holds(f"it answers; it does not offer {', '.join(missing)}, so neither do we")
    return holds("it answers, and offers SIZE, 8BITMIME and SMTPUTF8")


def _raise_next_hop(facts: Facts, attachment: Attachment, url: str) -> Mend:
    """Where master.cf has the listener, Postfix has not read it or does not run; where it has not, it belongs there."""
    hop = NextHopUrl.parse(url)
    if attachment.inner is not None:
        return Mend("as root", f"postfix reload   (or postfix start: {attachment.inner} is in master.cf)")
    if facts.postfix is not None and hop.protocol == "smtp" and hop.host in {"127.0.0.1", "::1", "localhost"}:
        host = "[::1]" if hop.host == "::1" else "127.0.0.1"
        return in_master(facts, "", f"{host}:{hop.port} inet n - n - - smtpd   (see config/postfix/front.master.cf)")
    return in_ours(facts, "servers.smtp", f'next_hop = "{url}"   (another one, or start it)')


def store_writable(facts: Facts, _attachment: Attachment) -> Judgement:
    path = facts.configuration.store.path
    if path is None:
        return holds("memory only: budgets and records are forgotten at each restart")
    if facts.store_fault:
        return broken(facts.store_fault, in_ours(facts, "store", f'url = "sqlite:{path}"'))
    return holds(f"{path} can be written")
