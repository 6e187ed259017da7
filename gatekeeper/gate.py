"""judge(stage, mail) -> Verdict: runs the checks of a stage, lets the policy decide, keeps the record. THE HEART."""

from __future__ import annotations

from typing import Protocol

from gatekeeper.message.edit import Edit
from gatekeeper.model import Envelope, Mail, Reply, Session, Stage, Verdict


class Gate(Protocol):
    """What a server sees of the gate. (The class itself follows; servers' tests use a fake with these verbs.)"""

    def session(self, server: str) -> Session:
        """A new session with an id and the time; the server fills in what it knows."""
        ...

    def envelope(self, session: Session) -> Envelope:
        """A new transaction with the id of its record."""
        ...

    async def judge(self, stage: Stage, mail: Mail) -> Verdict:
        """Run what the stage (and any stage skipped before it) has to run, and decide.

        Before RCPT only `DROP` is ever the action; another refusal is `held` and given at RCPT. Never raises; takes at
        most 10 s before DATA and 30 s at MESSAGE. At MESSAGE `verdict.recipients` has each recipient's own.
        """
        ...

    def reply(self, verdict: Verdict, mail: Mail) -> Reply:
        """What a refusing verdict is answered with: code, enhanced code, reason, the record's id."""
        ...

    def edits(self, mail: Mail, verdict: Verdict) -> list[Edit]:
        """Header edits for a message that passes."""
        ...

    async def finish(
        self, mail: Mail, verdict: Verdict | None, *, reply: Reply, next_hop: Reply | None = None, note: str = ""
    ) -> None:
        """A transaction has ended (or a refusal was answered): the record is queued, the client's history kept.

        `reply` is what the client was answered; `next_hop` is the next hop's own final reply, None when it was not
        asked; `note` says what cut it short ("next_hop_gone", "client_gone", "withdrawn", "in_doubt_client", ...).
        Called once for each transaction that had a recipient, however it ended.
        """
        ...

    async def refused(self, mail: Mail, verdict: Verdict, *, reply: Reply) -> None:
        """A recipient or a connection was refused by us; its record, if the session ends without a transaction."""
        ...

    def new_client(self, session: Session) -> None:
        """The client's facts have changed (XCLIENT, HELO, STARTTLS ...): forget the findings about the old ones."""
        ...

    async def leave(self, session: Session) -> None:
        """The session has ended."""
        ...
