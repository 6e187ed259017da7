"""Verdict -> header edits, and edits -> bytes; pure, the same for SMTP and milter."""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import dataclass

from gatekeeper.message.header import header_of
from gatekeeper.model import Action, Message, Verdict, setting
from gatekeeper.wire.address import normal_domain
from gatekeeper.wire.auth_results import authserv_id_of
from gatekeeper.wire.headers import Defect, Field, Header


@dataclass(frozen=True, slots=True)
class Insert:
    """A new field at the top (index 0) or below `index` fields; `value` has no CRLF at its end, folds are CRLF+WSP."""

    index: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Remove:
    """The `occurrence`-th (from 1) field of that name, counted in the message as received."""

    name: str
    occurrence: int


@dataclass(frozen=True, slots=True)
class Change:
    """A new value for the `occurrence`-th field of that name. Bytes that are not UTF-8 stand as surrogate escapes."""

    name: str
    occurrence: int
    value: str


Edit = Insert | Remove | Change


@dataclass(frozen=True, slots=True)
class Settings:
    """[message.edit]: what is written into messages that pass."""

    subject_prefix: str = setting("", 'Put before the subject of tagged mail, as "[SPAM] "; empty leaves it alone.')
    subject_prefix_breaks_signatures: bool = setting(
        False,
        "Whether the subject of signed mail is prefixed too where we cannot seal it, although its signature (DKIM, "
        "ARC) then fails.",
    )
    level_character: str = setting("*", "What X-Spam-Level repeats once for each whole point.")

    def __post_init__(self) -> None:
        if not self.subject_prefix.isprintable() or len(self.subject_prefix) > 40:
            raise ValueError("subject_prefix must be at most 40 printable characters, such as '[SPAM] '")
        if not re.fullmatch(r"[!-'*-~]", self.level_character):
            raise ValueError("level_character must be one printable ASCII character other than a parenthesis: use '*'")


LEVEL = 50
"""X-Spam-Level never gets longer, as with SpamAssassin."""
LINE = 76
"""Columns before a fold (RFC 5322 §2.1.1 recommends 78 at most)."""
RULES = 100
"""Rules named in X-Spam-Status; the record has them all."""


def edits(
    message: Message,
    verdict: Verdict,
    *,
    authserv_id: str,
    auth_results: str | None,
    settings: Settings,
    received: str | None = None,
    sealing: bool = False,
) -> list[Edit]:
    """What a message that passes gets, in the order in which it is to be done.

    `auth_results` and `received` are the values of those fields as they are to be written. `sealing`: a changed
    message will be sealed (ARC), so that the subject of a signed one may be touched. Every insert goes to the
    top, so that the last stands highest. Removals come highest index first, since a milter's MTA may count anew after
    each one.
    """
    header = header_of(message)
    made: list[Edit] = [*_removals(header, authserv_id)]
    tagged = verdict.action >= Action.TAG
    made.append(Insert(0, "X-Spam-Status", _status(verdict, tagged=tagged)))
    if tagged:
        stars = settings.level_character * min(max(verdict.millis, 0) // 1000, LEVEL)
        if stars:  # a field of blanks alone is obsolete (§4.2)
            made.append(Insert(0, "X-Spam-Level", stars))
    made.append(Insert(0, "X-Spam-Score", _points(verdict.millis)))
    if tagged:
        made.append(Insert(0, "X-Spam-Flag", "YES"))
        touching = sealing or settings.subject_prefix_breaks_signatures or not _signed(header)
        if settings.subject_prefix and touching:
            made += _subject(header, settings.subject_prefix)
    if auth_results is not None:
        made.append(Insert(0, "Authentication-Results", _ours(auth_results)))
    if received is not None:
        made.append(Insert(0, "Received", _ours(received)))
    return made


def _removals(header: Header, authserv_id: str) -> list[Remove]:
    """Every X-Spam field, and every Authentication-Results that claims to be ours or cannot be read (RFC 8601 §5)."""
    ours = _normal_id(authserv_id)
    seen: Counter[str] = Counter()
    forged: list[Remove] = []
    for field in header.fields:
        if not field.name.startswith(("x-spam", "authentication-results")):
            continue
        seen[field.name] += 1
        if field.name == "authentication-results":
            claimed = None if field.defects else authserv_id_of(field.value)
            if claimed is not None and _normal_id(claimed) != ours:
                continue
        elif field.name != "x-spam" and not field.name.startswith("x-spam-"):
            continue
        forged.append(Remove(field.name, seen[field.name]))
    forged.reverse()
    return forged


def _normal_id(authserv_id: str) -> str:
    return normal_domain(authserv_id) or authserv_id.lower()


def _signed(header: Header) -> bool:
    return bool(header.all("dkim-signature") or header.all("arc-message-signature"))


def _status(verdict: Verdict, *, tagged: bool) -> str:
    """`Yes|No, score=5.3 required=5.0 tests=RULE,RULE`, folded."""
    rules = dict.fromkeys(contribution.rule for contribution in verdict.contributions)
    if verdict.decided_by is not None:
        rules[verdict.decided_by] = None
    tests = ",".join(re.sub(r"[^A-Za-z0-9_]", "_", rule)[:60] for rule in list(rules)[:RULES]) or "none"
    words = [f"{'Yes' if tagged else 'No'},", f" score={_points(verdict.millis)}"]
    words += [f" required={_points(verdict.thresholds.tag)}", *re.findall(r"[^,]+,?", f" tests={tests}")]
    lines, column = [""], len("X-Spam-Status: ")
    for word in words:
        if column + len(word) > LINE and lines[-1]:
            lines.append(" " + word.lstrip())
            column = len(lines[-1])
        else:
            lines[-1] += word
            column += len(word)
    return "\r\n".join(lines)


def _points(millis: int) -> str:
    """Thousandths as points, exactly: "5.3", "-0.125", "5.0"."""
    whole, rest = divmod(abs(millis), 1000)
    decimals = f"{rest:03}".rstrip("0") or "0"
    return f"{'-' if millis < 0 else ''}{whole}.{decimals}"


def _subject(header: Header, prefix: str) -> list[Edit]:
    field = header.first("subject")
    if field is None:
        return [Insert(0, "Subject", _shown(prefix.rstrip()) or "-")]
    value = field.value.decode("utf-8", "surrogateescape").lstrip(" \t\r\n")
    shown = _shown(prefix)
    if value.startswith(shown):
        return []
    if len(value.partition("\r\n")[0]) + len(shown) > 900:  # RFC 5322 §2.1.1: 998 octets a line
        shown = shown.rstrip(" ") + "\r\n "
    return [Change("Subject", 1, shown + value)]


def without_prefix(value: bytes, prefix: str) -> bytes | None:
    """A subject's value without the prefix that `edits` wrote; None where it has none."""
    shown = _shown(prefix).encode("utf-8", "surrogateescape")
    text = value.lstrip(b" \t\r\n")
    if not text.startswith(shown.rstrip(b" ")):
        return None
    return text[len(shown.rstrip(b" ")) :].lstrip(b" \t\r\n")


def _shown(prefix: str) -> str:
    """As it is when ASCII, else as one encoded word (RFC 2047 §2) with the blank at its end inside."""
    if prefix.isascii():
        return prefix
    return f"=?utf-8?b?{base64.b64encode(prefix.encode()).decode()}?= "


_FOLD = re.compile(r"\r?\n(?=[ \t])")
_NOT_PRINTABLE = re.compile(r"[^ -~]")
_NOT_OF_NAMES = re.compile(rb"[^!-9;-~]")
_LOOSE_END = re.compile(rb"\r\n(?![ \t])|\r(?!\n)|(?<!\r)\n|\0")


def _ours(value: str) -> str:
    """A value that we write: printable ASCII and folds, whatever it was made of."""
    lines = [_NOT_PRINTABLE.sub("?", line.replace("\t", " ")) for line in _FOLD.split(value)]
    return "\r\n".join(line for line in lines if line.strip())


def apply(message: Message, edits: list[Edit]) -> bytes:
    """The new header block, all of it up to the empty line; fields not named in `edits` stay byte for byte.

    Where the message had no header at all, or began with a line that would now continue one of our fields, the block
    ends our part with an empty line of its own, as Postfix does; so it may be written in the place of the old block.
    """
    if not edits:
        return message.header
    header = header_of(message)
    named = _occurrences(header) if any(not isinstance(edit, Insert) for edit in edits) else {}
    kept: dict[int, bytes] = {field.index: field.raw for field in header.fields}
    inserts: list[Insert] = []
    for edit in edits:
        if isinstance(edit, Insert):
            inserts.append(edit)
            continue
        field = named.get((edit.name.lower(), edit.occurrence))
        if field is None:
            continue
        if isinstance(edit, Remove):
            kept.pop(field.index, None)
        else:
            kept[field.index] = _line(field.raw_name or edit.name.encode("ascii", "replace"), value_of(edit))
    lines = list(kept.values())
    if inserts and header.fields:
        _part(lines, header.fields[0])
    for insert in inserts:
        lines.insert(insert.index, _line(insert.name.encode("ascii", "replace"), value_of(insert)))
    if not message.header and not message.separator and message.body.size:
        lines.append(b"\r\n")
    return b"".join(lines)


def _part(lines: list[bytes], first: Field) -> None:
    """See to it that a first line that is no field neither continues ours nor hides the fields below it."""
    if not lines or lines[0] is not first.raw:
        return
    if Defect.LEADING_BLANK in first.defects:
        lines[0] = b"\r\n" + first.raw
    elif Defect.MAILBOX_LINE in first.defects:  # as Postfix's smtpd(8) does when the line comes first
        lines[0] = b"X-Mailbox-Line: " + first.raw


def value_of(edit: Insert | Change) -> bytes:
    """The value as it goes on the wire, without the blank before it and the CRLF after it; it is one field's only."""
    value = _ours(edit.value) if isinstance(edit, Insert) else edit.value
    return _LOOSE_END.sub(b" ", value.encode("utf-8", "surrogateescape"))


def _line(name: bytes, value: bytes) -> bytes:
    return _NOT_OF_NAMES.sub(b"", name) + b": " + value + b"\r\n"


def _occurrences(header: Header) -> dict[tuple[str, int], Field]:
    return {(name, nth): field for name, fields in header.by_name.items() for nth, field in enumerate(fields, 1)}
