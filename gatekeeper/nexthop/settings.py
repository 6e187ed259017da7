"""`[nexthop]`, and the address of a next hop as it stands in the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from gatekeeper.model import Duration, setting

_FORMS = "smtp://host:port, lmtp://host:port or lmtp+unix:///path"
_DEFAULT_PORTS = {"smtp": 25, "lmtp": 24}


@dataclass(frozen=True, slots=True)
class Settings:
    """How we speak to the next hop. Times are for one answer; RFC 5321 §4.5.3.2 gives more, but here a client waits."""

    connect: Duration = setting(5.0, "How long opening a connection may take, or waiting for a free one.")
    greeting: Duration = setting(30.0, "How long the next hop may take to greet us.")
    command: Duration = setting(30.0, "How long it may take to answer a command.")
    progress: Duration = setting(60.0, "How long it may take nothing of a message that is being sent.")
    final: Duration = setting(
        300.0, "How long its answer to a whole message may take; below 60s where Postfix waits for ours (100 s)."
    )
    idle: Duration = setting(5.0, "A connection that was silent for longer is replaced.")
    pool: int = setting(10, "How many idle connections each worker keeps for the next message.")
    max_connections: int = setting(50, "Connections in use at once, over all workers; the MTA has its own limit.")
    messages_per_connection: int = setting(
        100, "A connection is replaced after so many messages, so that a reloaded MTA's new settings come to bear."
    )
    hand_on: Literal["auto", "xclient", "xforward", "proxy", "none"] = setting(
        "auto",
        "How the next hop learns who the client is; auto takes XCLIENT, else XFORWARD, if it is offered; proxy is a "
        "PROXY v2 header, which it must expect, on a connection for each client.",
    )
    tls: Literal["none", "opportunistic", "required", "verify"] = setting(
        "none",
        "STARTTLS towards the next hop: not used, used where it works, required, or required with a certificate that "
        "is verified.",
    )
    tls_ca_file: str = setting("", "Authorities that verify believes, in PEM; the system's if empty.")
    tls_name: str = setting("", "The name that its certificate must have; the host of next_hop if empty.")

    def __post_init__(self) -> None:
        for name in ("connect", "greeting", "command", "progress", "final", "idle"):
            if getattr(self, name) <= 0:
                raise ValueError(f'{name} must be longer than nothing, such as "5s"')
        if self.pool < 0:
            raise ValueError("pool cannot be negative; 0 opens a connection for each message")
        if self.max_connections < 1 or self.messages_per_connection < 1:
            raise ValueError("max_connections and messages_per_connection must be at least 1")
        if self.tls != "verify" and (self.tls_ca_file or self.tls_name):
            raise ValueError('tls_ca_file and tls_name say what to verify: set tls = "verify", or leave them out')


@dataclass(frozen=True, slots=True)
class NextHopUrl:
    """Where the next hop listens: `host` and `port`, or the `path` of a UNIX socket."""

    protocol: Literal["smtp", "lmtp"]
    host: str | None = None
    port: int | None = None
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> NextHopUrl:
        """Raises ValueError with a sentence for the operator."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{text!r} is not an address ({error}); write {_FORMS}") from None
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(f"{text!r} has parts that mean nothing here; write {_FORMS}")
        if parts.scheme == "lmtp+unix":
            if parts.netloc or len(parts.path) < 2:
                raise ValueError(f"{text!r} needs three slashes and an absolute path: lmtp+unix:///run/lmtp.sock")
            return cls("lmtp", path=parts.path)
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"{text!r} does not say how to speak to the next hop; write {_FORMS}")
        if parts.path not in ("", "/"):
            raise ValueError(f"{text!r} has a path, which only lmtp+unix:///path knows")
        if not parts.hostname:
            raise ValueError(f"{text!r} names no host; write {_FORMS}")
        if port == 0:
            raise ValueError(f"{text!r} names port 0, where nobody listens")
        return cls(
            "smtp" if parts.scheme == "smtp" else "lmtp",
            host=parts.hostname,
            port=port or _DEFAULT_PORTS[parts.scheme],
        )

    def __str__(self) -> str:
        if self.path is not None:
            return f"lmtp+unix://{self.path}"
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host
        return f"{self.protocol}://{host}:{self.port}"
