"""What is kept of one transaction, or of one session refused without one, and the JSON it is kept as. Pure.

The subject is not kept, nor anything of the text: a record answers "why", it is not a copy of people's mail. The
Message-ID is, since that is what a sender's postmaster can look for.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from gatekeeper.model import Contribution, Kind, Missing, Reply, Thresholds, Tls
from gatekeeper.wire.notation import read_json

FORMAT = 1
"""Of the document. A reader takes what it knows; a format it does not know it does not read."""
ABANDONED = "abandoned"
"""An outcome that is not an action: the client gave the transaction up."""
HEALTH = "health"
"""Not a transaction at all: a DNS list, or the nameservers, came into another state. `note` says which."""


@dataclass(frozen=True, slots=True)
class RecordedFinding:
    """A finding as it is kept: `evidence` has only JSON's types, and the name of its class under "type"."""

    rule: str
    text: str = ""
    evidence: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy decided, for the message or for one recipient. `millis` is the sum of `contributions`."""

    action: str
    millis: int
    thresholds: Thresholds
    contributions: tuple[Contribution, ...] = ()
    missing: tuple[str, ...] = ()
    not_run: tuple[str, ...] = ()
    incomplete: bool = False
    decided_by: str | None = None
    held: str | None = None


@dataclass(frozen=True, slots=True)
class RecordedRecipient:
    """`decision` is None when it was not judged on its own."""

    address: str
    reply: Reply | None = None
    by_next_hop: bool = False
    decision: Decision | None = None
    findings: tuple[RecordedFinding, ...] = ()
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What was known of the client; None is unknown. `counters` has those that are not 0."""

    address: str | None = None
    port: int | None = None
    name: str | None = None
    helo: str | None = None
    extended: bool | None = None
    tls: Tls | None = None
    login: str | None = None
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """`action` is what became of it: an action's word, or "abandoned". `decision` is what the policy decided.

    `time` is when the outcome was known (Unix time), `duration` the seconds from MAIL until then. `more_recipients`
    are addresses without details, `unlisted` is how many more there were. `findings` are those of the session and
    the message; recipients have their own. `folded` is how many identical refusals the record stands for besides.
    """

    id: str
    time: float
    duration: float
    server: str
    session: str
    client: ClientFacts
    action: str
    reply: Reply
    sender: str | None = None
    recipients: tuple[RecordedRecipient, ...] = ()
    more_recipients: tuple[str, ...] = ()
    unlisted: int = 0
    size: int | None = None
    message_id: str = ""
    decision: Decision | None = None
    findings: tuple[RecordedFinding, ...] = ()
    missing: tuple[Missing, ...] = ()
    next_hop: Reply | None = None
    queue_id: str = ""
    note: str = ""
    folded: int = 0

    @property
    def millis(self) -> int:
        return self.decision.millis if self.decision else 0

    @property
    def contributions(self) -> tuple[Contribution, ...]:
        return self.decision.contributions if self.decision else ()


class UnreadableDocument(ValueError):
    """A document of a newer format, or none of ours."""


@lru_cache(maxsize=4096)
def points(millis: int) -> str:
    """Thousandths as a score for people: exact, no more decimals than it has. 4500 -> "4.5", -20 -> "-0.02"."""
    whole, rest = divmod(abs(millis), 1000)
    decimals = f".{rest:03}".rstrip("0").rstrip(".")
    return f"{'-' if millis < 0 else ''}{whole}{decimals}"


def to_document(record: Record) -> str:
    """JSON in ASCII; what is unknown is left out."""
    return json.dumps(to_plain(record), separators=(",", ":"), allow_nan=False)


def to_plain(record: Record) -> dict[str, Any]:
    """The record as JSON's own types, for documents and for `--json`."""
    document: dict[str, Any] = {"format": FORMAT}
    for name in _AS_THEY_ARE:
        document[name] = getattr(record, name)
    document["client"] = _plain_client(record.client)
    document["reply"] = _plain_reply(record.reply)
    document["next_hop"] = _plain_reply(record.next_hop)
    document["more_recipients"] = list(record.more_recipients)
    document["decision"] = _plain_decision(record.decision)
    document["findings"] = _plain_findings(record.findings)
    document["missing"] = _plain_missing(record.missing)
    document["recipients"] = [_plain_recipient(one, record.decision) for one in record.recipients]
    return _filled(document)


def from_document(document: str) -> Record:
    """The record again, exactly. Raises UnreadableDocument."""
    try:
        read = read_json(document)
        if read["format"] != FORMAT:
            raise UnreadableDocument(f"a record of format {read['format']!r}; this gatekeeper reads {FORMAT}")
        decision = _read_decision(read.get("decision"))
        client = dict(read.get("client", {}))
        tls = client.pop("tls", None)
        reply = _read_reply(read["reply"])
        if reply is None:
            raise UnreadableDocument("a record without a reply")
        return Record(
            **{name: read[name] for name in _AS_THEY_ARE if name in read},
            client=ClientFacts(**client, tls=None if tls is None else Tls(**tls)),
            reply=reply,
            next_hop=_read_reply(read.get("next_hop")),
            more_recipients=tuple(read.get("more_recipients", ())),
            decision=decision,
            findings=_read_findings(read.get("findings", ())),
            missing=_read_missing(read.get("missing", ())),
            recipients=tuple([_read_recipient(one, decision) for one in read.get("recipients", ())]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as failure:
        if isinstance(failure, UnreadableDocument):
            raise
        raise UnreadableDocument(f"not a record: {type(failure).__name__}") from failure


_AS_THEY_ARE = (
    "id time duration server session action sender size message_id queue_id note folded unlisted".split()  # noqa: SIM905  # a table reads better so
)


def _filled(document: dict[str, Any]) -> dict[str, Any]:
    """Without what is None, and without empty lists."""
    return {name: value for name, value in document.items() if value is not None and value not in _EMPTY}


_EMPTY: tuple[Any, ...] = ([], {})


def _plain_client(client: ClientFacts) -> dict[str, Any]:
    plain: dict[str, Any] = {name: getattr(client, name) for name in _OF_CLIENTS}
    plain["tls"] = None if client.tls is None else dataclasses.asdict(client.tls)
    plain["counters"] = dict(client.counters)
    return _filled(plain)


_OF_CLIENTS = ("address", "port", "name", "helo", "extended", "login")


def _plain_reply(reply: Reply | None) -> dict[str, Any] | None:
    return None if reply is None else {"code": reply.code, "lines": list(reply.lines)}


def _read_reply(read: Mapping[str, Any] | None) -> Reply | None:
    return None if read is None else Reply(read["code"], tuple(read["lines"]))


def _plain_decision(decision: Decision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {
        "action": decision.action,
        "millis": decision.millis,
        "tag": decision.thresholds.tag,
        "reject": decision.thresholds.reject,
        "exempt": sorted(kind.value for kind in decision.thresholds.exempt),
        **({} if decision.thresholds.greylist is None else {"greylist": decision.thresholds.greylist}),
        "contributions": [[one.rule, one.millis] for one in decision.contributions],
        "missing": list(decision.missing),
        "not_run": list(decision.not_run),
        "incomplete": decision.incomplete,
        "decided_by": decision.decided_by,
        "held": decision.held,
    }


def _read_decision(read: Mapping[str, Any] | None) -> Decision | None:
    if read is None:
        return None
    return Decision(
        action=read["action"],
        millis=read["millis"],
        thresholds=Thresholds(
            read["tag"], read["reject"], frozenset(Kind(kind) for kind in read["exempt"]), read.get("greylist")
        ),
        contributions=tuple([Contribution(rule, millis) for rule, millis in read["contributions"]]),
        missing=tuple(read["missing"]),
        not_run=tuple(read["not_run"]),
        incomplete=read["incomplete"],
        decided_by=read["decided_by"],
        held=read["held"],
    )


def _plain_findings(findings: Iterable[RecordedFinding]) -> list[dict[str, Any]]:
    return [{"rule": one.rule, "text": one.text} | _evidence(one.evidence) for one in findings]


def _evidence(evidence: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if evidence is None else {"evidence": dict(evidence)}


def _read_findings(read: Iterable[Mapping[str, Any]]) -> tuple[RecordedFinding, ...]:
    return tuple([RecordedFinding(one.get("rule", ""), one.get("text", ""), one.get("evidence")) for one in read])


def _plain_missing(missing: Iterable[Missing]) -> list[dict[str, Any]]:
    return [{"name": one.name, "rules": list(one.rules), "why": one.why} for one in missing]


def _read_missing(read: Iterable[Mapping[str, Any]]) -> tuple[Missing, ...]:
    return tuple([Missing(one["name"], tuple(one["rules"]), one["why"]) for one in read])


def _plain_recipient(recipient: RecordedRecipient, shared: Decision | None) -> dict[str, Any]:
    """Most recipients share the message's decision; "shared" says so once for each instead of repeating it."""
    alike = recipient.decision is not None and recipient.decision == shared
    return _filled(
        {
            "address": recipient.address,
            "reply": _plain_reply(recipient.reply),
            "by_next_hop": recipient.by_next_hop or None,
            "decision": "shared" if alike else _plain_decision(recipient.decision),
            "findings": _plain_findings(recipient.findings),
            "missing": _plain_missing(recipient.missing),
        }
    )


def _read_recipient(read: Mapping[str, Any], shared: Decision | None) -> RecordedRecipient:
    decision = read.get("decision")
    return RecordedRecipient(
        address=read.get("address", ""),
        reply=_read_reply(read.get("reply")),
        by_next_hop=read.get("by_next_hop", False),
        decision=shared if decision == "shared" else _read_decision(decision),
        findings=_read_findings(read.get("findings", ())),
        missing=_read_missing(read.get("missing", ())),
    )
