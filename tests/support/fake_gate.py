"""A gate that says what it is told: for tests of servers.

    gate = FakeGate()
    gate.say(Stage.RCPT, Action.REJECT, to="bad@example.org")     # every time
    gate.hold(Stage.MESSAGE)                                      # judging waits for gate.go(Stage.MESSAGE)
    ...
    assert gate.finished[0].note == "rset"

It checks what every server owes a gate: `finish` once per transaction, `leave` once per session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from gatekeeper.message.edit import Edit, Insert
from gatekeeper.model import Action, Envelope, IPAddress, Mail, Notebook, Reply, Session, Stage, Thresholds, Verdict

THRESHOLDS = Thresholds(tag=5000, reject=10000)
CODES = {Action.GREYLIST: 451, Action.DEFER: 451, Action.REJECT: 550, Action.DROP: 421}


@dataclass(slots=True)
class Finished:
    """One call of `finish`, with what the mail held then."""

    mail: Mail
    id: str
    verdict: Verdict | None
    reply: Reply
    next_hop: Reply | None
    note: str
    recipients: list[str]
    refused: list[str]
    data: bytes | None


@dataclass
class FakeGate:
    """`gatekeeper.gate.Gate`."""

    inserts: list[tuple[str, str]] = field(default_factory=lambda: [("X-Spam-Score", "0.0")])
    judged: list[Stage] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    refusals: list[tuple[str, Reply]] = field(default_factory=list)
    left: list[Session] = field(default_factory=list)
    renewed: int = 0
    signing: bool = False
    mails: list[Mail] = field(default_factory=list)  # those whose message was judged
    sessions: list[Session] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    framings: list[tuple[str, ...]] = field(default_factory=list)
    seen: list[tuple[Stage, str | None, str | None]] = field(default_factory=list)  # stage, address, HELO

    known: set[str] = field(default_factory=set)  # addresses whose mail was wanted before
    patient: bool = False  # whether bad manners are only noted
    looked_up: list[list[str]] = field(default_factory=list)
    turned_away: list[tuple[str | None, str | None, str | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ids = 0
        self._said: dict[tuple[Stage, str], Verdict] = {}
        self._holds: dict[Stage, asyncio.Event] = {}
        self._raises: dict[Stage, Exception] = {}
        self._changed = asyncio.Event()
        self._open: set[str] = set()

    # --- the script --------------------------------------------------------------------------------------------------

    def say(
        self,
        stage: Stage,
        action: Action,
        *,
        to: str = "",
        delay: float = 0.0,
        code: int | None = None,
        thresholds: Thresholds = THRESHOLDS,
    ) -> None:
        """What judging that stage gives: of every mail, or at RCPT of the recipient `to`."""
        self._said[stage, to] = Verdict(
            action,
            0,
            thresholds,
            reason="not wanted",
            code=code or CODES.get(action),
            enhanced=f"{(code or CODES.get(action, 250)) // 100}.7.1",
            delay=delay,
        )

    def hold(self, stage: Stage) -> None:
        self._holds[stage] = asyncio.Event()

    def go(self, stage: Stage) -> None:
        self._holds.pop(stage).set()

    def fail(self, stage: Stage, error: Exception) -> None:
        self._raises[stage] = error

    async def until(self, what: str, count: int = 1) -> None:
        """Until the list of that name ("finished", "judged", "left" ...) is so long."""
        while len(getattr(self, what)) < count:
            self._changed.clear()
            await self._changed.wait()

    # --- the verbs ---------------------------------------------------------------------------------------------------

    def _id(self) -> str:
        self._ids += 1
        return f"id{self._ids}"

    def session(self, server: str) -> Session:
        session = Session(id=self._id(), server=server, started=1_800_000_000.0)
        self.sessions.append(session)
        return session

    def envelope(self, session: Session) -> Envelope:
        return Envelope(id=self._id(), started=session.started)

    async def judge(self, stage: Stage, mail: Mail) -> Verdict:
        mail.stage = stage
        self.judged.append(stage)
        session = mail.session
        self.seen.append((stage, None if session.address is None else str(session.address), session.helo))
        self._changed.set()
        if stage in self._raises:
            raise self._raises[stage]
        if stage in self._holds:
            await self._holds[stage].wait()
        to = ""
        if stage == Stage.RCPT:
            assert mail.recipient is not None
            to = str(mail.recipient.address)
        if stage == Stage.MESSAGE:
            assert mail.message is not None
            self.messages.append(b"".join(mail.message.chunks()))
            self.mails.append(mail)
            self.framings.append(mail.message.framing)
        verdict = self._said.get((stage, to)) or self._said.get((stage, ""))
        if verdict is None:
            return Verdict(Action.ACCEPT, 0, THRESHOLDS)
        return verdict

    def reply(self, verdict: Verdict, mail: Mail) -> Reply:
        assert verdict.code is not None
        return Reply.of(verdict.code, f"{verdict.enhanced} {verdict.reason} (id {mail.envelope.id})")

    def edits(self, mail: Mail, verdict: Verdict) -> list[Edit]:
        assert not verdict.action.refuses
        return [Insert(0, name, value) for name, value in self.inserts]

    async def familiar(self, addresses: Sequence[IPAddress]) -> list[bool]:
        self.looked_up.append([str(address) for address in addresses])
        return [str(address) in self.known for address in addresses]

    def turn_away(self, mail: Mail) -> Reply | None:
        session = mail.session
        facts = (session.speaks, session.spoke_early, session.pipelined)
        if facts == (None, None, None) or (self.patient and session.speaks is None):
            return None
        self.turned_away.append(facts)
        self._changed.set()
        return Reply.of(421, "4.5.1 not in order")

    def signs(self, session: Session) -> bool:
        return self.signing

    async def finish(
        self, mail: Mail, verdict: Verdict | None, *, reply: Reply, next_hop: Reply | None = None, note: str = ""
    ) -> None:
        envelope = mail.envelope
        assert all(done.id != envelope.id for done in self.finished), "finished twice"
        assert envelope.recipients or any(r.by_next_hop for r in envelope.refused), "there was nothing to finish"
        self.finished.append(
            Finished(
                mail,
                envelope.id,
                verdict,
                reply,
                next_hop,
                note,
                [str(r.address) for r in envelope.recipients],
                [str(r.address) for r in envelope.refused],
                None if mail.message is None else b"".join(mail.message.chunks()),
            )
        )
        self._changed.set()

    async def refused(self, mail: Mail, verdict: Verdict, *, reply: Reply) -> None:
        assert verdict.action.refuses
        self.refusals.append((str(mail.recipient.address) if mail.recipient else "", reply))

    def new_client(self, session: Session) -> None:
        self.renewed += 1
        session.notebook = Notebook()

    async def settle(self, session: Session) -> None:
        assert session not in self.left, "it has left"

    async def leave(self, session: Session) -> None:
        assert session not in self.left, "left twice"
        self.left.append(session)
        self._changed.set()
