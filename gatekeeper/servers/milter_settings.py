"""`[servers.milter]`: where mail servers find the milter, and whose mail is none of its business."""

from __future__ import annotations

from dataclasses import dataclass

from gatekeeper.model import Duration, Size, setting
from gatekeeper.servers.overload import Settings as Overload
from gatekeeper.servers.peers import Peers

LOCAL = ("127.0.0.0/8", "::1/128", "unix")


@dataclass(frozen=True, slots=True)
class Settings:
    """`[servers.milter]`."""

    listen: tuple[str, ...] = setting(
        ("127.0.0.1:10027",),
        "Where mail servers connect: unix:/path?mode=0660&group=postfix, systemd:NAME, or host:port, which costs some "
        "40 ms a message.",
    )
    trust: tuple[str, ...] = setting(
        LOCAL, 'Networks of the mail servers that may use the milter, and "unix" for UNIX sockets.'
    )
    exempt_authenticated: bool = setting(True, "Let the mail of clients that have logged in pass unseen.")
    exempt_networks: tuple[str, ...] = setting(
        LOCAL, 'Clients whose mail passes unseen; "unix" for those that reach the mail server by a UNIX socket.'
    )
    recipients: int = setting(
        1000, "Recipients of one message, where the mail server allows more; further ones are told to come again."
    )
    connections: int = setting(1000, "Connections of mail servers at once, over all workers.")
    timeout: Duration = setting(7200.0, "How long a mail server may be silent; it waits for its own client meanwhile.")
    header_size: Size = setting(2 << 20, "The longest header of a message.")
    spool: str = setting(
        "", "Directory for messages above 256KiB while they are judged; the system's temporary one if empty."
    )
    spool_memory: Size = setting(256 << 20, "Memory that the messages in one worker may take together.")
    spool_disk: Size = setting(4 << 30, "The same for the spool.")
    overload: Overload = setting(Overload(), "When there is more to do than can be done, and who is put off then.")

    def __post_init__(self) -> None:
        Peers(self.trust)
        Peers(self.exempt_networks)
        for name in ("recipients", "connections"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.timeout <= 0:
            raise ValueError('timeout must be longer than nothing, as in "2h"')
        for name in ("header_size", "spool_memory", "spool_disk"):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} must be more than nothing, as in "1MiB"')
