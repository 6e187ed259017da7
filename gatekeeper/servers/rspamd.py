"""What rspamd's clients ask and read: the fields of a request, /checkv2's JSON, and the text of RSPAMC/1.3. Pure.

As rspamd 3 has it (rspamd.com/doc/developers/protocol.html), as far as rspamc, Haraka's plugin and Exim's `spam=` read
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from email.utils import getaddresses
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from gatekeeper.message.edit import Change, Insert, Remove
from gatekeeper.model import Action, Address, IPAddress, Tls
from gatekeeper.records.answer import CheckResult
from gatekeeper.records.document import points
from gatekeeper.records.explain import explain
from gatekeeper.servers.checking import Told
from gatekeeper.wire.address import told_mailbox

Fields = Iterable[tuple[str, str]]
"""Names in lower case, and values, in the order in which they came."""

_ACTIONS: Final[Mapping[Action, str]] = {
    Action.ACCEPT: "no action",
    Action.TAG: "add header",
    Action.GREYLIST: "soft reject",  # not "greylist", which Haraka lets pass
    Action.DEFER: "soft reject",
    Action.REJECT: "reject",
    Action.DROP: "soft reject",
}
TEXT_ROWS: Final = 200
"""Symbols in the text form: Exim has room for 32 kB of it."""


def told(fields: Fields) -> Told:
    """Client and envelope as the fields of a request tell them; what cannot be read was not told.

    Fields that are about rspamd's own workings (Pass, Settings, Flags ...) are left alone, and so is every field that
    names a file.
    """
    found: dict[str, str] = {}
    recipients: list[Address] = []
    for name, value in fields:
        if name == "rcpt":
            recipients += _mailboxes(value)
        else:
            found.setdefault(name, value)
    deliver_to = found.get("deliver-to", "")
    if not recipients and "@" in deliver_to:
        recipients = _mailboxes(deliver_to)
    sender = found.get("from")
    version = found.get("tls-version")
    return Told(
        address=_address(found.get("ip", "")),
        name=_known(found.get("hostname")),
        helo=found.get("helo") or None,
        tls=Tls(version, found.get("tls-cipher", ""), 0) if version else None,
        login=found.get("user") or None,
        sender=None if sender is None else _mailbox(sender),
        recipients=tuple(recipients),
        queue_id=found.get("queue-id") or None,
    )


def _known(name: str | None) -> str | None:
    return None if name is None or name.lower() in ("", "unknown", "undefined") else name


def _address(text: str) -> IPAddress | None:
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    # A caller on a socket of both families sees IPv4 clients so; taken as they are, all would be one client.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _mailbox(text: str) -> Address:
    text = text.strip()
    return told_mailbox(text[1:-1] if text.startswith("<") and text.endswith(">") else text)


def _mailboxes(text: str) -> list[Address]:
    """One mailbox, or several with commas between them, as some clients put them into one field."""
    one = _mailbox(text)
    if one.domain or "," not in text:
        return [one] if text.strip() else []
    try:
        return [told_mailbox(address) for _, address in getaddresses([text]) if address]
    except RecursionError:  # comments within comments, which nobody means
        return [one]


def checkv2(result: CheckResult, about: Mapping[str, str]) -> dict[str, Any]:
    """The answer to /checkv2; `about` is each rule's sentence.

    Mail that is to be refused has our reason in `messages`. `gatekeeper` has what rspamd has no word for.
    """
    verdict, record = result.verdict, result.record
    subject = _subject(result)
    answer: dict[str, Any] = {
        "is_skipped": False,
        "score": verdict.score,
        "required_score": verdict.thresholds.reject / 1000,
        "action": action(result),
        "thresholds": {
            "reject": verdict.thresholds.reject / 1000,
            "add header": verdict.thresholds.tag / 1000,
        },
        "symbols": _symbols(result, about),
        "messages": {} if result.reply is None else {"smtp_message": result.reply.text},
        "message-id": record.message_id.strip("<>") or "undef",
        "milter": _milter(result),
        "gatekeeper": {
            "id": record.id,
            "action": record.action,
            "missing": list(verdict.missing),
            "not_run": list(verdict.not_run),
        },
    }
    return answer if subject is None else answer | {"subject": subject}


def action(result: CheckResult) -> str:
    if _subject(result) is not None:
        return "rewrite subject"
    return _ACTIONS[result.verdict.action]


def _subject(result: CheckResult) -> str | None:
    """The new subject, where it is to be changed."""
    for edit in result.edits:
        if isinstance(edit, Change | Insert) and edit.name == "Subject":
            return _one_line(edit.value)
    return None


def _symbols(result: CheckResult, about: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Each rule that was found, its score, and what was seen as its options."""
    symbols: dict[str, dict[str, Any]] = {}
    for row in explain(result.record, about).message.rows:
        symbol = symbols.setdefault(
            row.rule,
            {"name": row.rule, "score": 0.0, "metric_score": 0.0, "description": about.get(row.rule, "")},
        )
        if row.millis is not None:
            symbol["score"] = symbol["metric_score"] = row.millis / 1000
        if row.text:
            options = symbol.setdefault("options", [])
            if row.text not in options:
                options.append(row.text)
    return symbols


def _milter(result: CheckResult) -> dict[str, Any]:
    """Header edits as rspamd writes them: 0 removes all fields of a name; a list stands for several of one name."""
    add: dict[str, list[dict[str, Any]]] = {}
    remove: dict[str, list[int]] = {}
    for edit in result.edits:
        if edit.name == "Subject":
            continue  # told by the action
        if isinstance(edit, Insert):
            add.setdefault(edit.name, []).append({"value": _one_line(edit.value), "order": edit.index})
        elif isinstance(edit, Remove):
            remove.setdefault(edit.name, []).append(edit.occurrence)
    return {
        "add_headers": {name: values[0] if len(values) == 1 else values for name, values in add.items()},
        "remove_headers": {
            name: 0 if name.startswith("x-spam") else places[0] if len(places) == 1 else places
            for name, places in remove.items()
        },
    }


_FOLD: Final = re.compile(r"\r\n[ \t]*")
_LINE_END: Final = re.compile(r"[\r\n\0]+")


def _one_line(value: str) -> str:
    """Whoever adds the field folds it as it likes."""
    return _LINE_END.sub(" ", _FOLD.sub(" ", value)).encode("utf-8", "replace").decode()


def text(result: CheckResult, about: Mapping[str, str]) -> bytes:
    """The answer to `CHECK RSPAMC/1.3`. Exim takes the second figure for the score that makes a message spam."""
    verdict = result.verdict
    score, tag, reject = (value / 1000 for value in (verdict.millis, verdict.thresholds.tag, verdict.thresholds.reject))
    spam = "True" if verdict.action is not Action.ACCEPT else "False"
    rows = explain(result.record, about).message.rows
    lines = [
        "RSPAMD/1.3 0 EX_OK",
        f"Metric: default; {spam}; {score:.2f} / {tag:.2f} / {reject:.2f}",
        f"Action: {action(result)}",
    ]
    lines += [f"Symbol: {row.rule}({points(row.millis or 0)})" for row in rows[:TEXT_ROWS]]
    lines.append(f"Message-ID: {result.record.message_id.strip('<>') or 'undef'}")
    if result.reply is not None:
        lines.append(f"Message: {result.reply.text}")
    lines.append(f"Record: {result.record.id}")
    return "".join(f"{_printable(line)}\r\n" for line in lines).encode("ascii")


def _printable(line: str) -> str:
    return re.sub(r"[^ -~]", "?", line)
