"""`[servers.smtp]`: where the SMTP proxy listens, in front of what, and what a client may cost it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gatekeeper.model import Duration, Size, setting
from gatekeeper.nexthop import NextHopUrl
from gatekeeper.servers.overload import Settings as Overload
from gatekeeper.servers.peers import Peers
from gatekeeper.servers.tls import Settings as TlsSettings
from gatekeeper.wire.address import normal_domain
from gatekeeper.wire.listen import TcpAddress, UnixAddress, read_listen


@dataclass(frozen=True, slots=True)
class Settings:
    """`[servers.smtp]`."""

    listen: tuple[str, ...] = setting(
        ("127.0.0.1:10025",),
        "Where mail comes in: host:port, [v6]:port, unix:/path?mode=0660&group=postfix, systemd:NAME.",
    )
    proxy_listen: tuple[str, ...] = setting(
        (), "The same where a PROXY header comes first, v1 or v2, from proxies that trust names; required there."
    )
    tls_listen: tuple[str, ...] = setting(
        (), "The same where TLS comes first, without STARTTLS (RFC 8314), with the certificate of [servers.smtp.tls]."
    )
    next_hop: str = setting(
        "smtp://127.0.0.1:10026", "The mail server behind: smtp://host:port, lmtp://host:port or lmtp+unix:///path."
    )
    trust: tuple[str, ...] = setting(
        (), 'Networks whose word about the client is taken (XCLIENT, XFORWARD, PROXY), and "unix" for UNIX sockets.'
    )
    ours: tuple[str, ...] = setting(
        (), "Networks of clients that may send to any domain; they are judged all the same."
    )
    relay_probe_domain: str = setting(
        "relay-test.invalid",
        "A domain of nobody's; the next hop must refuse it to strangers where relay_domains is not set.",
    )
    bare_newline: Literal["normalise", "reject"] = setting(
        "normalise", 'What becomes of lines that end in LF alone: "normalise" makes them CRLF, "reject" refuses them.'
    )
    message_size: Size = setting(64 << 20, "The largest message, unless the next hop offers less.")
    header_size: Size = setting(2 << 20, "The longest header of a message.")
    received_fields: int = setting(100, "A message with more Received fields goes in circles and is refused.")
    recipients: int = setting(100, "Recipients of one message; further ones are told to come again.")
    connections: int = setting(1000, "Sessions at once, over all workers.")
    connections_per_address: int = setting(50, "Sessions at once from one address, over all workers.")
    connections_per_network: int = setting(
        200, "Sessions at once from one network (/24 for IPv4, /56 for IPv6), over all workers."
    )
    greeting_delay: Duration = setting(
        6.0, 'How long clients without history wait for the end of the greeting; "0s": nobody waits.'
    )
    greeting_exempt: tuple[str, ...] = setting(
        (), "Networks whose clients never wait for the greeting, nor those of trust, nor private addresses."
    )
    greeting_passed_for: Duration = setting(86400.0, "How long a client that has waited does not wait again.")
    slowed_at_once: int = setting(500, "Answers that doubtful clients may be waiting for at once, over all workers.")
    errors: int = setting(20, "Protocol errors after which a session is closed.")
    idle_commands: int = setting(
        100, "Commands that bring no mail (NOOP, RSET, VRFY ...) after which a session is closed."
    )
    command_timeout: Duration = setting(300.0, "How long a client may be silent between commands.")
    line_timeout: Duration = setting(60.0, "How long a command may take from its first octet to its last.")
    first_mail: Duration = setting(900.0, "How long a session may last before its first mail begins.")
    envelope_total: Duration = setting(1800.0, "How long naming the sender and recipients of one mail may take.")
    proxy_timeout: Duration = setting(5.0, "How long a proxy may take for its PROXY header.")
    data_timeout: Duration = setting(180.0, "How long it may be silent in the middle of a message.")
    data_rate: Size = setting(
        128, "The least octets per second of a message, over its whole length, on top of data_timeout."
    )
    data_total: Duration = setting(3600.0, "The longest that one message may take to arrive.")
    session_total: Duration = setting(7200.0, "How long a session may last before its next message must use another.")
    spool: str = setting(
        "", "Directory for messages above 256KiB while they pass; the system's temporary one if empty."
    )
    spool_memory: Size = setting(256 << 20, "Memory that the messages in one worker may take together.")
    spool_disk: Size = setting(4 << 30, "The same for the spool.")
    overload: Overload = setting(Overload(), "When there is more to do than can be done, and who is put off then.")
    tls: TlsSettings | None = setting(None, "STARTTLS for clients; without this section mail comes in the clear.")

    def __post_init__(self) -> None:
        if self.proxy_listen and not self.trust:
            raise ValueError("proxy_listen takes nobody's word without trust: name the networks of your proxies there")
        if self.tls_listen and self.tls is None:
            raise ValueError("tls_listen needs a certificate: add a section [servers.smtp.tls]")
        Peers(self.trust)
        Peers(self.ours)
        Peers(self.greeting_exempt)
        if self.greeting_delay < 0 or self.greeting_delay > 60:  # RFC 5321 §4.5.3.2.1 lets clients wait five minutes
            raise ValueError('greeting_delay must be at most "60s": clients have other mail to send, too')
        if normal_domain(self.relay_probe_domain) is None:
            raise ValueError(
                f'relay_probe_domain {self.relay_probe_domain!r} is not a domain; try "relay-test.invalid"'
            )
        for name in ("message_size", "header_size", "data_rate", "spool_memory", "spool_disk"):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} must be more than nothing, as in "1MiB"')
        for name in (
            "recipients",
            "received_fields",
            "connections",
            "connections_per_address",
            "connections_per_network",
            "errors",
            "idle_commands",
            "slowed_at_once",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in (
            "command_timeout",
            "line_timeout",
            "first_mail",
            "envelope_total",
            "proxy_timeout",
            "data_timeout",
            "data_total",
            "session_total",
            "greeting_passed_for",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f'{name} must be longer than nothing, as in "5m"')
        self._not_itself()

    def _not_itself(self) -> None:
        """A next hop that is one of our own listeners would let every message go in circles."""
        hop = NextHopUrl.parse(self.next_hop)
        for text in (*self.listen, *self.proxy_listen, *self.tls_listen):
            address = read_listen(text)
            if isinstance(address, UnixAddress):
                same = hop.path == address.path
            elif isinstance(address, TcpAddress) and hop.port == address.port:
                host = "127.0.0.1" if hop.host == "localhost" else hop.host
                same = host == str(address.host) or (address.host.is_unspecified and host in {"127.0.0.1", "::1"})
            else:
                same = False
            if same:
                raise ValueError(
                    f"next_hop {self.next_hop} is where we listen ourselves; name the mail server behind us"
                )
