"""What ClamAV finds in the message, where the operator has one. That it is away is no evidence of anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import ClassVar, Final

from gatekeeper.checks.base import Tools
from gatekeeper.model import Duration, Finding, Kind, Mail, Missing, Rule, Size, Stage, setting
from gatekeeper.scanning.clamd import Clamd, ClamdAway
from gatekeeper.wire.clamd import Result
from gatekeeper.wire.listen import SystemdAddress, TcpAddress, UnixAddress, read_listen

MALWARE = Rule("CLAMAV_MALWARE", 12.0, "ClamAV knows what is in the message as malware.", Kind.CONTENT, enhanced="7.1")
SUSPECT = Rule("CLAMAV_SUSPECT", 4.0, "A signature of ClamAV matches that is not one of known malware.", Kind.CONTENT)
SKIPPED = Rule("CLAMAV_SKIPPED", 0.0, "The message is too large for ClamAV.", Kind.CONTENT)

MAIL: Final = b"Received: by gatekeeper\r\n"
"""Before each message: clamd knows mail by its first field, and decodes nothing where it sees none."""


@dataclass(frozen=True, slots=True)
class SignatureEvidence:
    """The name of what matched."""

    signature: str


@dataclass(frozen=True, slots=True)
class SkippedEvidence:
    """Octets of a message that was not scanned."""

    size: int


@dataclass(frozen=True)  # without slots, for the client, which is made once
class ClamAv:
    """[checks.clamav]"""

    name: ClassVar[str] = "clamav"

    clamd: str = setting(
        "", 'Where clamd listens: "unix:/run/clamav/clamd.ctl" or "127.0.0.1:3310"; empty, nothing is scanned.'
    )
    timeout: Duration = setting(20.0, "How long a message may take, waiting for a session included.")
    max_size: Size = setting(25 * 1_048_576, "Larger messages are not sent; at most clamd's StreamMaxLength.")
    sessions: int = setting(4, "How many messages each worker lets clamd scan at once.")
    suspect: tuple[str, ...] = setting(
        (
            "Heuristics.",
            "PUA.",
            "Sanesecurity.",
            "SecuriteInfo.com.Spam",
            "winnow.",
            "Porcupine.",
            "Phish",
            ".UNOFFICIAL",
        ),
        "Signatures whose names begin or end so are suspicion, and not known malware.",
    )

    def __post_init__(self) -> None:
        if self.clamd:
            try:
                found = read_listen(self.clamd)
            except ValueError as error:
                raise ValueError(f"clamd: {error}") from None
            if isinstance(found, SystemdAddress):
                raise ValueError('clamd: write "unix:/path" or "127.0.0.1:3310"')
        if self.timeout <= 0 or self.max_size <= 0:
            raise ValueError('timeout and max_size must be above nothing, such as "20s" and "25MiB"')
        if not 1 <= self.sessions <= 64:
            raise ValueError("sessions must be from 1 to 64")
        if not all(self.suspect):
            raise ValueError("suspect has an empty name, with which every signature begins")

    def rules(self) -> Sequence[Rule]:
        return (MALWARE, SUSPECT, SKIPPED)

    def idle_at(self, stage: Stage) -> bool:  # noqa: ARG002 - at each
        return not self.clamd

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:  # noqa: ARG002
        message, client = mail.message, self._client
        if message is None or client is None:
            return ()
        if message.size > self.max_size:
            text = f"{message.size} octets are more than the {self.max_size} that are scanned"
            return (Finding(SKIPPED.name, SkippedEvidence(message.size), text),)
        try:
            answer = await client.scan(lambda: chain((MAIL,), message.chunks()))
        except ClamdAway as away:
            return (Missing(self.name, (MALWARE.name, SUSPECT.name), str(away)),)
        if answer.result is Result.TOO_LARGE:
            return (Finding(SKIPPED.name, SkippedEvidence(message.size), "clamd takes no message as large as this"),)
        if answer.result is not Result.FOUND:
            return ()
        rule = SUSPECT if any(_is(answer.text, each) for each in self.suspect) else MALWARE
        return (Finding(rule.name, SignatureEvidence(answer.text), answer.text),)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    @cached_property
    def _client(self) -> Clamd | None:
        if not self.clamd:
            return None
        address = read_listen(self.clamd)
        if not isinstance(address, TcpAddress | UnixAddress):
            return None
        return Clamd(address, timeout=self.timeout, sessions=self.sessions)


def _is(signature: str, suspect: str) -> bool:
    return signature.endswith(suspect) if suspect.startswith(".") else signature.startswith(suspect)
