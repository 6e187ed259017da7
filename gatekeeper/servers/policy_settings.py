"""`[servers.policy_service]`: where Postfix asks, and what its questions may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from gatekeeper.model import Duration, setting
from gatekeeper.servers.overload import Settings as Overload
from gatekeeper.servers.peers import Peers
from gatekeeper.wire.listen import read_listen

POSTFIX_PATIENCE: Final = 100.0
"""Seconds; smtpd_policy_service_timeout as it is unless it was changed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`[servers.policy_service]`."""

    listen: tuple[str, ...] = setting(
        ("127.0.0.1:10028",),
        "Where Postfix asks: host:port, [v6]:port, unix:/path?mode=0660&group=postfix, systemd:NAME.",
    )
    trust: tuple[str, ...] = setting(
        ("127.0.0.0/8", "::1/128", "unix"),
        'Networks that may ask, and "unix" for UNIX sockets: what they say about clients is taken.',
    )
    prepend: Literal["data", "rcpt", "never"] = setting(
        "data",
        'When X-Spam-Status is added to mail that passes: "data", which needs the service in '
        'smtpd_data_restrictions too; "rcpt", at the first recipient; or "never".',
    )
    deadline: Duration = setting(
        60.0, "The longest that an answer takes; less than smtpd_policy_service_timeout, which is 100s."
    )
    slowed: int = setting(
        10, "Answers held back to slow a client, at once and over all workers: each of them keeps an smtpd process."
    )
    connections: int = setting(1000, "Connections at once, over all workers; Postfix has one for each smtpd process.")
    idle_timeout: Duration = setting(1200.0, "A connection without a question for so long is closed.")
    remembered: Duration = setting(
        10.0, "How long a mail is remembered when its connection has closed, should another one ask about it."
    )
    remembered_mails: int = setting(1000, "How many such mails one worker remembers.")
    overload: Overload = setting(Overload(), "When there is more to do than can be done, and who is put off then.")

    def __post_init__(self) -> None:
        for address in self.listen:
            read_listen(address)
        Peers(self.trust)
        if not 0 < self.deadline < POSTFIX_PATIENCE:
            raise ValueError('deadline is less than the 100s that Postfix waits, as in "60s"')
        for name in ("idle_timeout", "remembered"):
            if getattr(self, name) <= 0:
                raise ValueError(f'{name} must be longer than nothing, as in "60s"')
        for name in ("connections", "remembered_mails"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.slowed < 0:
            raise ValueError("slowed is how many answers may be held back at once; 0 holds back none")
