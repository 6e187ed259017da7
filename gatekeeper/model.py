"""The nouns every part shares: sessions, envelopes, messages, findings, verdicts. No I/O, no clock, no opinion."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Protocol, TypeVar, cast

IPAddress = IPv4Address | IPv6Address
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Unit:
    """Marks a setting that is written with a unit; ``config.py`` reads "3s" or "10MiB" into a number."""

    kind: str


Duration = Annotated[float, Unit("duration")]
"""Seconds. Written in TOML as a string with a unit: "500ms", "3s", "5m", "2h", "1d"."""
Size = Annotated[int, Unit("size")]
"""Bytes. Written in TOML as a string with a unit: "64KiB", "10MiB", "1GiB"."""


def setting(default: E, about: str, *, secret: bool = False) -> E:
    """A field of a settings dataclass: its default, and the sentence above it in config/gatekeeper.toml.

    The value of a `secret` one is never shown.
    """
    made: Any = field(default=default, metadata={"about": about, "secret": secret})
    return cast("E", made)


class Stage(enum.IntEnum):
    """How far a conversation has come; a check runs at the first stage whose facts it needs."""

    CONNECT = 1  # the client's address is known
    HELO = 2  # it has said its name
    MAIL = 3  # it has named a sender
    RCPT = 4  # it names one recipient
    DATA = 5  # all recipients are known
    MESSAGE = 6  # the message has arrived

    __hash__ = int.__hash__  # the enumeration's own is written in Python, and stages are looked up all the time


class Action(enum.IntEnum):
    """What a server does about a mail, mildest first."""

    ACCEPT = 0  # let it pass
    TAG = 1  # let it pass, marked as spam
    GREYLIST = 2  # 451 once, remembered
    DEFER = 3  # 4xx
    REJECT = 4  # 5xx
    DROP = 5  # 421 and close; session defences only

    @property
    def refuses(self) -> bool:
        return self >= Action.GREYLIST

    @property
    def word(self) -> str:
        return self.name.lower()


class Kind(enum.Enum):
    """What a rule's evidence is about; some recipients are exempt from some kinds (RFC 5321 §4.5.1)."""

    LIST = "list"  # somebody's list of addresses or names
    RATE = "rate"  # how much or how fast
    FORM = "form"  # how the client or the message is made
    IDENTITY = "identity"  # who it is shown to be from
    CONTENT = "content"  # what it says
    OPERATOR = "operator"  # the operator's own lists


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that say much the same: together they count no more than `cap` points, for the mail or against it.

    What they would count beyond it is taken back under the group's own name, as a line of the sum.
    """

    name: str
    cap: float


GROUP_LINE = "_GROUP_"
"""Stands in every group's name, and in no rule's."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing a check can find, with what the policy makes of it unless told otherwise.

    `score` is the default in points, at most three decimals. `about` is one sentence for humans. `decides` is the
    action this rule takes by itself, whatever the score. `enhanced` is the RFC 3463 subject and detail ("7.23") used
    when this rule is the main reason of a refusal. `delay` is how many seconds the server waits before it answers.
    `reply_code` overrides the basic code of a refusal that this rule decides (452, 421 ...). A rule that decides
    GREYLIST does so only while the score lies in the band that is greylisted. `exempts` are the kinds of rule that do
    not count where this one is found. `tells` is whether a refusal gives the finding's own text although the rule is of
    kind RATE, where all refusals read alike. `source` is the law or standard that it comes from, "" for none.
    """

    name: str
    score: float
    about: str
    kind: Kind = Kind.FORM
    decides: Action | None = None
    enhanced: str = "7.1"
    delay: float = 0.0
    reply_code: int | None = None
    exempts: frozenset[Kind] = frozenset()
    tells: bool = False
    group: Group | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that met its evidence. Never a score.

    `evidence` is a frozen dataclass (or None) made of plain values, so that a record can keep it and a later
    policy can judge it again. `text` is the evidence in one short human sentence, already free of secrets; it may
    contain text from the network and is escaped wherever it is shown.
    """

    rule: str
    evidence: Any = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """Evidence that could not be had.

    `name` is the check's, or "check:part"; `rules` are those that could have been found; `why` is for the log.
    """

    name: str
    rules: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply (RFC 5321 §4.2): a code and the text of each line, without code, hyphen and CRLF.

    An enhanced status code (RFC 2034) is part of the text, as on the wire.
    """

    code: int
    lines: tuple[str, ...]

    @classmethod
    def of(cls, code: int, text: str) -> Reply:
        return cls(code, (text,))

    @property
    def text(self) -> str:
        return " / ".join(self.lines)

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox as the one strict reader (wire/address.py) understood it.

    `local` keeps its case, without quotes; `domain` is lower case, A-labels, no trailing dot ("" for the null sender
    and for a bare "postmaster"). `raw` is what stood on the wire between the angle brackets.
    """

    local: str
    domain: str
    raw: str = ""

    @property
    def null(self) -> bool:
        return not self.local and not self.domain

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local


EXEMPT_MAILBOXES = frozenset({"postmaster", "abuse"})
"""At our own domains these hear from everybody (RFC 5321 §4.5.1, RFC 2142)."""


@dataclass(slots=True)
class Notebook:
    """What the gate has written down about one scope: a session, a transaction or a recipient. Only the gate writes."""

    findings: list[Finding] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    done: set[Stage] = field(default_factory=set)


class Heard(enum.Enum):
    """What a client has learned about a name it asked for."""

    KNOWN = "known"  # the next hop took the recipient
    UNKNOWN = "unknown"  # the next hop refused it for good: there is no such mailbox
    ABANDONED = "abandoned"  # it was taken, and the transaction was given up before DATA


@dataclass(frozen=True, slots=True)
class Named:
    """A recipient and what became of it; `null_sender` is whether the transaction was a bounce's."""

    address: Address
    heard: Heard
    null_sender: bool = False


NAMED_MOST = 256
"""Names of one session that wait to be noted; of more, those that came first are only counted."""


@dataclass(slots=True)
class Counters:
    """What a client did in this session; facts that RSET does not forget."""

    recipients: int = 0  # RCPT commands
    unknown: int = 0  # RCPT refused for good by the next hop (550, 551, 553 and the like)
    accepted: int = 0  # recipients accepted
    abandoned: int = 0  # accepted recipients of transactions given up before DATA
    resets: int = 0  # transactions with a recipient given up by RSET, EHLO, QUIT or a lost connection before DATA
    verifies: int = 0  # VRFY and EXPN
    errors: int = 0  # protocol errors
    messages: int = 0  # messages accepted by the next hop, but those that were marked as spam
    refused: int = 0  # messages and recipients refused by us
    delivered: int = 0  # recipients of those messages
    null_probes: int = 0  # recipients named with the null sender that were refused for good or given up

    def take(self, action: Action, recipients: int) -> None:
        """A message has been passed on with that action to so many; one marked as spam earns its client nothing."""
        if action is not Action.TAG:
            self.messages += 1
            self.delivered += recipients


@dataclass(frozen=True, slots=True)
class Tls:
    """What a TLS handshake agreed on. `bits` is 0 where a proxy ended the TLS, which does not tell them."""

    version: str
    cipher: str
    bits: int


@dataclass(slots=True)
class Session:
    """One client as far as it is known. Filled by a server; None means that this server cannot know it."""

    id: str
    server: str  # "smtp", "milter", "policy_service", "http", "check"
    started: float  # Unix time
    address: IPAddress | None = None
    port: int | None = None
    name: str | None = None  # the reverse name, when a trusted peer told it; verified by nobody here
    helo: str | None = None
    extended: bool | None = None  # EHLO rather than HELO
    tls: Tls | None = None
    login: str | None = None
    trusted: bool = False  # named by `trust`; its word about others is taken, nothing else follows
    shows_messages: bool = True  # whether messages will be seen; where not, DATA is the last stage
    familiar: bool | None = None  # whether its own mail, or its network's, was accepted before
    spoke_early: str | None = None  # the beginning of what it said before the greeting was complete
    pipelined: str | None = None  # the command behind which it went on without its answer (RFC 2920 §3.1)
    speaks: str | None = None  # what it spoke in the place of SMTP: "http", "tls", "ssh" ...
    counters: Counters = field(default_factory=Counters)
    settled: Counters = field(default_factory=Counters)  # the part of `counters` the store already knows
    named: list[Named] = field(default_factory=list)  # recipients heard of since then; see `hear`
    names_at_once: int | None = (
        None  # recipients that may be asked of the next hop together; None: no limit but its own
    )
    notebook: Notebook = field(default_factory=Notebook)
    blocked: bool = False  # a drop was answered
    memo: dict[str, Any] = field(default_factory=dict)  # what a check keeps for the session; the key is its name

    def hear(self, address: Address, heard: Heard, *, null_sender: bool = False) -> None:
        """A server tells what the client has learned of a name. Whoever keeps account takes it out of `named`."""
        if heard is not Heard.KNOWN:
            self.counters.null_probes += null_sender
        if len(self.named) >= NAMED_MOST:
            del self.named[: NAMED_MOST // 2]
        self.named.append(Named(address, heard, null_sender))


@dataclass(slots=True)
class Recipient:
    """One RCPT: the mailbox, its parameters as they came, and what became of it."""

    address: Address
    parameters: tuple[str, ...] = ()
    reply: Reply | None = None  # what the client was answered
    by_next_hop: bool = False  # the reply is the next hop's own
    notebook: Notebook = field(default_factory=Notebook)
    verdict: Verdict | None = None


@dataclass(slots=True)
class Envelope:
    """One MAIL and what followed. `id` is the record's."""

    id: str
    sender: Address | None = None
    parameters: tuple[str, ...] = ()
    recipients: list[Recipient] = field(default_factory=list)  # accepted ones, in order
    refused: list[Recipient] = field(default_factory=list)  # bounded by the server
    notebook: Notebook = field(default_factory=Notebook)
    started: float = 0.0
    queue_id: str | None = None  # the MTA's, where it tells one before it has answered
    exempt: bool = False  # the operator wants it left alone: it is signed, and neither judged nor recorded
    memo: dict[str, Any] = field(default_factory=dict)  # what the gate keeps for the transaction


class Body(Protocol):
    """The bytes after the header: canonical CRLF, without dot-stuffing, without the final dot."""

    @property
    def size(self) -> int: ...

    def chunks(self) -> Iterator[bytes]:
        """From the start, each time it is called; pieces of at most 256 KiB."""
        ...


@dataclass(slots=True)
class BytesBody:
    """A body small enough for memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        if self.data:
            yield self.data


@dataclass(slots=True)
class Message:
    """One message as received, canonical CRLF.

    `header` goes up to and including the CRLF of its last line (not the empty line).
    `separator` is whether an empty line followed the header. `framing` names what the reader had to mend or saw
    ("bare_lf"). `memo` holds parsed parts, so that each is parsed once: the key is the parser's name.
    """

    header: bytes
    body: Body
    separator: bool = True
    framing: tuple[str, ...] = ()
    memo: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.header) + 2 * self.separator + self.body.size

    def chunks(self) -> Iterator[bytes]:
        yield self.header + b"\r\n" if self.separator else self.header
        yield from self.body.chunks()


@dataclass(slots=True)
class Mail:
    """What a check looks at: everything known so far. `recipient` is set at RCPT only; `message` from MESSAGE on."""

    session: Session
    envelope: Envelope
    message: Message | None = None
    recipient: Recipient | None = None
    stage: Stage = Stage.CONNECT

    def findings(self) -> Iterator[Finding]:
        yield from self.session.notebook.findings
        yield from self.envelope.notebook.findings
        if self.recipient is not None:
            yield from self.recipient.notebook.findings

    def evidence(self, kind: type[E]) -> E | None:
        """The first evidence of that type found so far, by an earlier wave or stage."""
        books = [self.session.notebook, self.envelope.notebook]
        if self.recipient is not None:
            books.append(self.recipient.notebook)
        for book in books:  # written out, since it is asked fifteen times a message
            for finding in book.findings:
                if isinstance(finding.evidence, kind):
                    return finding.evidence
        return None


@dataclass(frozen=True, slots=True)
class Contribution:
    """One line of a sum: a rule and its score in thousandths of a point."""

    rule: str
    millis: int


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where `tag` and `reject` begin for a recipient, in thousandths, and which kinds of rule do not count for it.

    `greylist` is where doubt begins, which ends at `reject`; None where nothing is greylisted.
    """

    tag: int
    reject: int
    exempt: frozenset[Kind] = frozenset()
    greylist: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy makes of the findings. `millis` is exactly the sum of `contributions`."""

    action: Action
    millis: int
    thresholds: Thresholds
    contributions: tuple[Contribution, ...] = ()
    missing: tuple[str, ...] = ()
    not_run: tuple[str, ...] = ()
    incomplete: bool = False  # evidence that could have changed the action was missing
    decided_by: str | None = None  # the rule that decided alone
    reason: str = ""  # for the peer: short, printable ASCII
    code: int | None = None  # SMTP basic code of a refusal
    enhanced: str = ""  # "5.7.1"
    delay: float = 0.0  # seconds to wait before the answer
    held: Action | None = None  # a refusal kept back until sender and recipient are known
    recipients: Mapping[str, Verdict] = field(default_factory=dict)  # at MESSAGE: one each, by address

    @property
    def score(self) -> float:
        return self.millis / 1000


def millis(score: float) -> int:
    """A score in thousandths; the policy adds whole numbers so that sums are exact."""
    return round(score * 1000)


def names(missing: Iterable[Missing]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(m.name for m in missing))
