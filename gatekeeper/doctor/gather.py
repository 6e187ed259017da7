"""Gathers the facts: the only part of the doctor that asks anybody. It changes nothing; every wait has a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gatekeeper.config import Configuration
from gatekeeper.dns.resolver import AiodnsResolver, Resolver, Status
from gatekeeper.doctor import postfix as postfix_settings
from gatekeeper.doctor import signing_keys
from gatekeeper.doctor.attachments import attachments, paths, read_all
from gatekeeper.doctor.certificates import look_at
from gatekeeper.doctor.facts import (
    Attachment,
    Certificate,
    Exchange,
    Facts,
    NextHopFacts,
    Port,
    ResolverFacts,
    SigningFact,
)
from gatekeeper.doctor.postfix import Postfix
from gatekeeper.nexthop import CannotVerify, NextHop, NextHopGone, NextHopUrl
from gatekeeper.wire.listen import ListenAddress, SystemdAddress, TcpAddress, UnixAddress

PATIENCE: Final = 10.0
"""Seconds for each of: postconf, the next hop, all of DNS."""
KNOCK: Final = 3.0
MOST_DOMAINS: Final = 50
STUB: Final = "127.0.0.53"  # systemd-resolved, which asks others
SBIN: Final = "/usr/sbin:/usr/local/sbin:/sbin"


async def gather(
    configuration: Configuration,
    *,
    file: str,
    postfix_directory: str | None = None,
    resolv_conf: Path = Path("/etc/resolv.conf"),
    upstreams: Path = Path("/run/systemd/resolve/resolv.conf"),
) -> Facts:
    """`postfix_directory` is that of main.cf, if it is not Postfix's own default. Never raises for what it finds."""
    resolver = AiodnsResolver(configuration.dns)
    try:
        postfix, next_hop, resolving, exchanges, ports, signing = await asyncio.gather(
            _postfix(postfix_directory),
            _next_hop(configuration),
            _resolver(configuration, resolver, resolv_conf, upstreams),
            _exchanges(configuration, resolver),
            _ports(configuration),
            _signing(configuration, resolver),
        )
    finally:
        await resolver.close()
    found, why_none = postfix
    return Facts(
        file=file,
        configuration=configuration,
        postfix=found,
        why_no_postfix=why_none,
        next_hop=next_hop,
        resolver=resolving,
        exchanges=exchanges,
        ports=ports,
        barred=_barred(configuration, found),
        certificate=_certificate(configuration),
        signing=signing,
        store_fault=_store_fault(configuration.store.path),
    )


# --- Postfix -----------------------------------------------------------------------------------------------------


async def _postfix(directory: str | None) -> tuple[Postfix | None, str]:
    """What postconf says, or why it says nothing."""
    program = shutil.which("postconf", path=f"{os.environ.get('PATH', '')}:{SBIN}")
    if program is None:
        return None, "there is no postconf on this machine: Postfix's settings cannot be read"
    where = ("-c", directory) if directory else ()
    try:
        async with asyncio.timeout(PATIENCE):
            main = await _run(program, *where, "-x")
            services = await _run(program, *where, "-M")
            overrides = await _run(program, *where, "-P", "-x")
    except TimeoutError:
        return None, f"postconf did not answer within {PATIENCE:g} s"
    except OSError as failure:
        return None, f"postconf cannot be run: {failure.strerror}"
    except _Failed as failure:
        return None, f"postconf: {failure}"
    found = postfix_settings.read(directory or "", main, services, overrides)
    return postfix_settings.read(found.value("config_directory") or "/etc/postfix", main, services, overrides), ""


class _Failed(Exception):
    """The program ended badly; the text is its last line."""


async def _run(program: str, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = err.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise _Failed(said[-1].removeprefix("postconf: "))
    return out.decode(errors="replace")


def _barred(configuration: Configuration, postfix: Postfix | None) -> dict[str, str]:
    """For each UNIX socket between Postfix and us that is there: what keeps Postfix's user from it, or ""."""
    if postfix is None:
        return {}
    try:
        import grp  # noqa: PLC0415  # with pwd: not on every system that can read a configuration
        import pwd  # noqa: PLC0415

        user = pwd.getpwnam(postfix.value("mail_owner") or "postfix")
        groups = {user.pw_gid, *(each.gr_gid for each in grp.getgrall() if user.pw_name in each.gr_mem)}
    except (KeyError, ImportError):
        return {}
    sockets = {address.path for _, address in _listeners(configuration) if isinstance(address, UnixAddress)}
    sockets |= {path for each in attachments(configuration, postfix) for path in _paths(each, postfix)}
    found = {}
    for path in sockets:
        with contextlib.suppress(OSError):  # not made yet, or not for us to see
            Path(path).stat()
            barrier = barrier_to(Path(path), uid=user.pw_uid, groups=groups)
            found[path] = f"{barrier} is closed to the user {user.pw_name}" if barrier else ""
    return found


def _paths(attachment: Attachment, postfix: Postfix) -> list[str]:
    """Where Postfix looks for our socket."""
    if attachment.endpoint is None or not attachment.endpoint.path:
        return []
    return [paths(attachment.endpoint.path, postfix, each)[0] for each in attachment.entrances]


def barrier_to(path: Path, *, uid: int, groups: Iterable[int]) -> str:
    """The first directory on the way that this user may not enter, or the socket if it may not write there; or ""."""
    members = set(groups)
    for step in [*reversed(path.parents), path]:
        try:
            there = step.stat()
        except OSError:
            return ""  # not made yet, or not for us to see
        shift = 6 if there.st_uid == uid else 3 if there.st_gid in members else 0
        needed = 0o1 if stat.S_ISDIR(there.st_mode) else 0o2
        if not there.st_mode >> shift & needed:
            return str(step)
    return ""


# --- the next hop ------------------------------------------------------------------------------------------------


async def _next_hop(configuration: Configuration) -> NextHopFacts | None:
    smtp = configuration.servers.smtp
    if smtp is None:
        return None
    try:
        hop = NextHop(NextHopUrl.parse(smtp.next_hop), configuration.nexthop, hostname=configuration.hostname)
    except CannotVerify as unusable:
        return NextHopFacts(None, why=str(unusable), cannot_verify=True)
    try:
        async with asyncio.timeout(PATIENCE):
            capabilities = await hop.probe()
        return NextHopFacts(capabilities, takes_xclient=hop.takes_xclient)
    except TimeoutError:
        return NextHopFacts(None, why=f"{smtp.next_hop} did not answer within {PATIENCE:g} s")
    except NextHopGone as gone:
        return NextHopFacts(None, why=str(gone))
    finally:
        await hop.close()


# --- DNS ---------------------------------------------------------------------------------------------------------


async def _resolver(
    configuration: Configuration, resolver: Resolver, resolv_conf: Path, upstreams: Path
) -> ResolverFacts:
    nameservers = tuple(map(_address, configuration.dns.nameservers)) or _named_in(resolv_conf)
    if STUB in nameservers:
        nameservers = tuple(dict.fromkeys((*nameservers, *_named_in(upstreams))))
    # RFC 6761 §6.4: nothing exists below "invalid". The first label is new, so that no cache answers for the resolver.
    name = f"gatekeeper-{secrets.token_hex(6)}.invalid"
    try:
        async with asyncio.timeout(PATIENCE):
            made_up, real = await asyncio.gather(resolver.ask(name, "A"), resolver.ask("org", "NS"))
    except TimeoutError:
        return ResolverFacts(nameservers, answers=False, why=f"no answer within {PATIENCE:g} s")
    invents = made_up.status is Status.OK
    for question, answer in ((f"{name} A", made_up), ("org NS", real)):
        if not answer.certain:
            why = f"asked for {question}: {answer.status.value}"
            return ResolverFacts(nameservers, answers=False, invents=invents, why=why)
    return ResolverFacts(nameservers, answers=True, invents=invents)


def _address(nameserver: str) -> str:
    """Of "address:port", "[v6]:port" or an address alone."""
    host = nameserver.rpartition(":")[0] if nameserver.count(":") == 1 or "]:" in nameserver else nameserver
    return str(ipaddress.ip_address(host.strip("[]")))


def _named_in(resolv_conf: Path) -> tuple[str, ...]:
    try:
        lines = resolv_conf.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            with contextlib.suppress(ValueError):
                found.append(str(ipaddress.ip_address(words[1].partition("%")[0])))
    return tuple(found)


async def _exchanges(configuration: Configuration, resolver: Resolver) -> tuple[Exchange, ...]:
    try:
        async with asyncio.timeout(PATIENCE):
            by_domain = await asyncio.gather(
                *(_exchanges_of(domain, resolver) for domain in configuration.relay_domains[:MOST_DOMAINS])
            )
    except TimeoutError:
        return ()
    return tuple(exchange for found in by_domain for exchange in found)


async def _exchanges_of(domain: str, resolver: Resolver) -> list[Exchange]:
    found = []
    for _, host in (await resolver.ask(domain, "MX")).records:
        if host:
            answers = await asyncio.gather(resolver.ask(host, "A"), resolver.ask(host, "AAAA"))
            addresses = [str(record) for answer in answers for record in answer.records]
            found.append(Exchange(domain, host, tuple(each for each in addresses if not _is_here(each))))
    return found


def _is_here(address: str) -> bool:
    """Whether this machine has that address: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.bind((address, 0))
    except OSError:
        return False
    return True


# --- our own -----------------------------------------------------------------------------------------------------


def _listeners(configuration: Configuration) -> list[tuple[str, ListenAddress]]:
    """Every address that some server of ours listens on; "smtp" where it speaks first, else "silent"."""
    found: list[tuple[str, ListenAddress]] = []
    servers = configuration.servers
    smtp = servers.smtp
    if smtp is not None:
        found += [("smtp", address) for address in read_all(smtp.listen)]
        found += [("silent", address) for address in read_all((*smtp.proxy_listen, *smtp.tls_listen))]
    for other in (servers.milter, servers.policy_service, servers.http):
        if other is not None:
            found += [("silent", address) for address in read_all(other.listen)]
    return found


async def _ports(configuration: Configuration) -> dict[str, Port]:
    listeners = _listeners(configuration)
    states = await asyncio.gather(*(_port(name, address, configuration.hostname) for name, address in listeners))
    return {str(address): state for (_, address), state in zip(listeners, states, strict=True)}


async def _port(name: str, address: ListenAddress, hostname: str) -> Port:
    if isinstance(address, SystemdAddress):
        return Port.UNSEEN
    if isinstance(address, UnixAddress) or address.port == 0:
        return Port.FREE  # who bars the way to a UNIX socket is another question
    state = _bindable(address)
    if state is not Port.TAKEN:
        return state
    if name != "smtp":
        return Port.OURS  # it does not say who it is before it is asked
    greeting = await _greeting(address)
    return Port.TAKEN if greeting and hostname.encode() not in greeting else Port.OURS


def _bindable(address: TcpAddress) -> Port:
    family = socket.AF_INET6 if address.host.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((str(address.host), address.port))
    except OSError as error:
        match error.errno:
            case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
                return Port.NOT_HERE
            case errno.EACCES | errno.EPERM:
                return Port.FORBIDDEN
        return Port.TAKEN
    return Port.FREE


async def _greeting(address: TcpAddress) -> bytes:
    """The first line that is said there; b"" for silence, as where a PROXY header or TLS is expected."""
    host = str(address.host)
    if address.host.is_unspecified:
        host = "::1" if address.host.version == 6 else "127.0.0.1"
    try:
        async with asyncio.timeout(KNOCK):
            reader, writer = await asyncio.open_connection(host, address.port, limit=4096)
            try:
                line = await reader.readline()
                writer.write(b"QUIT\r\n")
                return line
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return b""


async def _signing(configuration: Configuration, resolver: Resolver) -> tuple[SigningFact, ...]:
    keys = configuration.mailauth.signing.keys
    try:
        async with asyncio.timeout(PATIENCE):
            return await signing_keys.look_at(keys, resolver)
    except TimeoutError:
        why = f"no answer within {PATIENCE:g} s"
        return tuple(SigningFact(f"{key.selector}._domainkey.{key.domain}", key.file, "?", why, True) for key in keys)


def _certificate(configuration: Configuration) -> Certificate | None:
    smtp = configuration.servers.smtp
    return look_at(smtp.tls.certificate, smtp.tls.key) if smtp is not None and smtp.tls is not None else None


def _store_fault(path: Path | None) -> str:
    """Why the store could not be written by whoever runs this, or "". Nothing is opened: SQLite keeps locks there."""
    if path is None:
        return ""
    try:
        directory, exists = path.is_dir(), path.exists()
    except PermissionError:
        return f"{path} cannot be read by us (run this as root or as the user of the service)"
    if directory:
        return f"{path} is a directory"
    if exists and not os.access(path, os.R_OK | os.W_OK):
        return f"{path} cannot be written by us (run this as the user of the service)"
    if not path.parent.is_dir():
        return f"{path.parent} is not there: systemd makes it (StateDirectory=), or install -d {path.parent}"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"the directory {path.parent} cannot be written by us (run this as the user of the service)"
    return ""
