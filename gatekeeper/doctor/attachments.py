"""Which ways to stand in front of the MTA are set up: our listeners, found again in what Postfix is set to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gatekeeper.config import Configuration
from gatekeeper.doctor.facts import Attachment, Mode
from gatekeeper.doctor.postfix import Endpoint, Postfix, Service, policy_check, restrictions, words
from gatekeeper.nexthop import NextHopUrl
from gatekeeper.wire.listen import ListenAddress, SystemdAddress, UnixAddress, read_listen

RESTRICTIONS: Final = tuple(
    f"smtpd_{stage}_restrictions"
    for stage in ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data", "etrn")
)


def attachments(configuration: Configuration, postfix: Postfix | None) -> tuple[Attachment, ...]:
    """One for each mode in use, in the order of the modes, and at last the one for what concerns them all."""
    found: list[Attachment] = []
    smtp = configuration.servers.smtp
    if smtp is not None:
        listen = read_all((*smtp.listen, *smtp.proxy_listen, *smtp.tls_listen))
        inner = _next_hop(postfix, smtp.next_hop)
        entrances, endpoint = _asked_by(postfix, listen, _proxy)
        mode = Mode.BEHIND if entrances else Mode.FRONT
        found.append(Attachment(mode, listen, entrances, endpoint, inner))
    milter, policy = configuration.servers.milter, configuration.servers.policy_service
    if milter is not None:
        listen = read_all(milter.listen)
        found.append(Attachment(Mode.MILTER, listen, *_asked_by(postfix, listen, _milters)))
    if policy is not None:
        listen = read_all(policy.listen)
        found.append(Attachment(Mode.POLICY, listen, *_asked_by(postfix, listen, _policies)))
    return (*found, Attachment(Mode.ALL))


def read_all(written: Iterable[str]) -> tuple[ListenAddress, ...]:
    return tuple(map(read_listen, written))


def _next_hop(postfix: Postfix | None, url: str) -> Service | None:
    hop = NextHopUrl.parse(url)
    if postfix is None or hop.host is None or hop.port is None or hop.protocol != "smtp":
        return None
    return postfix.listening(hop.host, hop.port)


def _proxy(postfix: Postfix, service: Service) -> list[Endpoint]:
    return _endpoints([postfix.value("smtpd_proxy_filter", service)])


def _milters(postfix: Postfix, service: Service) -> list[Endpoint]:
    return _endpoints(words(postfix.value("smtpd_milters", service)))


def _policies(postfix: Postfix, service: Service) -> list[Endpoint]:
    given = [each for name in RESTRICTIONS for each in restrictions(postfix.value(name, service))]
    return [endpoint for each in given if (endpoint := policy_check(each)) is not None]


def _endpoints(written: Iterable[str]) -> list[Endpoint]:
    return [endpoint for word in written if (endpoint := Endpoint.read(word)) is not None]


def _asked_by(
    postfix: Postfix | None, listen: Sequence[ListenAddress], endpoints: Callable[[Postfix, Service], list[Endpoint]]
) -> tuple[tuple[Service, ...], Endpoint | None]:
    """The services that have one of ours among their endpoints, and that one."""
    found: list[Service] = []
    first: Endpoint | None = None
    if postfix is None:
        return (), None
    for service in postfix.sessions:
        ours = next((each for each in endpoints(postfix, service) if is_ours(each, listen, postfix, service)), None)
        if ours is not None:
            found.append(service)
            first = first or ours
    return tuple(found), first


def led_astray(attachment: Attachment, postfix: Postfix) -> tuple[Service, Endpoint] | None:
    """The first service that is meant to ask a UNIX socket of ours and looks for it elsewhere, as it is told to."""
    asked = {Mode.MILTER: _milters, Mode.POLICY: _policies}.get(attachment.mode, _proxy)
    ours = {address.path for address in attachment.listen if isinstance(address, UnixAddress)}
    for service in attachment.entrances:
        meant = [each for each in asked(postfix, service) if is_ours(each, attachment.listen, postfix, service)]
        looks = [paths(each.path, postfix, service)[0] for each in meant if each.path]
        if looks and len(looks) == len(meant) and ours.isdisjoint(looks):
            return service, meant[0]
    return None


def is_ours(endpoint: Endpoint, listen: Iterable[ListenAddress], postfix: Postfix, service: Service) -> bool:
    """Whether an address that a Postfix service uses is one where we listen."""
    return any(_meets(endpoint, address, postfix, service) for address in listen)


def _meets(endpoint: Endpoint, address: ListenAddress, postfix: Postfix, service: Service) -> bool:
    if isinstance(address, UnixAddress):
        return bool(endpoint.path) and address.path in paths(endpoint.path, postfix, service)
    if isinstance(address, SystemdAddress):
        return "gatekeeper" in endpoint.path  # only the socket unit knows the path; we see its name
    return endpoint.port == address.port and (address.host.is_unspecified or endpoint.host == str(address.host))


def paths(path: str, postfix: Postfix, service: Service) -> tuple[str, ...]:
    """Where `unix:path` may lead for that service: below the queue directory if it is chrooted or not absolute.

    The other reading stands there too: a path that a chrooted service cannot reach is still meant to be ours.
    """
    queue = postfix.value("queue_directory").rstrip("/")
    inside = f"{queue}/{path.lstrip('/')}"
    if not path.startswith("/"):
        return (inside,)
    return (inside, path) if service.chroot else (path, inside)
