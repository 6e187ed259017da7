"""Authentication-Results, written (RFC 8601). What comes in under our name is removed elsewhere (message/edit.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gatekeeper.mailauth.arc import ArcCode, ArcResult
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.dmarc import DmarcResult
from gatekeeper.mailauth.spf import SpfIdentity, SpfResult

MOST_VALUE = 253  # characters of one value: a domain name fits
MOST_REASON = 100
FOLD = ";\r\n\t"

TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+")  # RFC 2045 §5.1
NOT_SHOWN = re.compile(r"[^\x20-\x7e]")
# The grammar lets a quote stand in a comment, and a semicolon or a parenthesis in a quoted string. But not everybody
# who reads the field follows it: many cut it at each semicolon, or take out comments before quoted strings, or the
# other way round. A stranger's value has none of these signs, so that all of them read the same.
HARMLESS = str.maketrans('"\\();', "'/[],")


@dataclass(frozen=True, slots=True)
class Method:
    """One resinfo: a method, its result, and what was tested. `properties` are ("ptype.property", value) pairs.

    Names of methods, results and properties are ours; values, comment and reason may be a stranger's.
    """

    name: str
    result: str
    properties: tuple[tuple[str, str], ...] = ()
    comment: str = ""
    reason: str = ""


def write(
    authserv_id: str,
    *,
    spf: SpfResult | None = None,
    helo: SpfResult | None = None,
    dkim: DkimResults | None = None,
    dmarc: DmarcResult | None = None,
    arc: ArcResult | None = None,
    doubts: Sequence[str] = (),
    sender_doubts: Sequence[str] = (),
    others: Sequence[Method] = (),
) -> str:
    """The value of the field, folded with CRLF and TAB, nothing at its ends. None is what was not looked at.

    `doubts` say why two readers might see two authors, `sender_doubts` the same of the reverse-path. Then nothing is
    carried on as a pass that whoever reads the field might take for the author's, or the sender's: it is `policy`,
    the result that local rules put in another's place (RFC 8601 §2.7).
    Printable ASCII whatever the results hold: no value can end the field, or begin another result.
    """
    by_sender = _unless("two senders", sender_doubts, [*_spf(spf), *_spf(helo)])
    methods = _unless("two authors", doubts, [*by_sender, *_dkim(dkim), *_dmarc(dmarc), *_arc(arc)])
    methods += others
    return FOLD.join([_value(authserv_id), *(map(_resinfo, methods) if methods else ("none",))])


def _unless(what: str, doubts: Sequence[str], methods: list[Method]) -> list[Method]:
    if not doubts:
        return methods
    why = f"two readers might see {what}: {', '.join(doubts[:3])}"
    return [replace(one, result="policy", reason=why) if one.result == "pass" else one for one in methods]


def _spf(result: SpfResult | None) -> Iterator[Method]:
    if result is not None:
        tested = "smtp.mailfrom" if result.identity is SpfIdentity.MAILFROM else "smtp.helo"
        yield Method("spf", result.code, ((tested, result.domain),), reason=result.reason)


def _dkim(results: DkimResults | None) -> Iterator[Method]:
    if results is None:
        return
    if not results.results:
        yield Method("dkim", DkimCode.NONE)
    for one in results.results:
        yield Method("dkim", one.code, tuple(_signature(one)), _key(one), one.reason)


def _signature(one: DkimResult) -> Iterator[tuple[str, str]]:
    """RFC 8601 §2.7.1 and RFC 6008: enough to tell one signature from another."""
    named = (("d", one.domain), ("s", one.selector), ("a", one.algorithm), ("b", one.signature))
    return ((f"header.{tag}", value) for tag, value in named if value)


def _key(one: DkimResult) -> str:
    return " ".join(
        [*([f"{one.key_bits}-bit key"] if one.key_bits else []), *(["domain is testing"] if one.testing else [])]
    )


def _dmarc(result: DmarcResult | None) -> Iterator[Method]:
    if result is None:
        return
    policy = f"p={result.published}{' t=y' if result.testing else ''}" if result.record_domain else ""
    tested = (("header.from", result.domain),) if result.domain else ()
    yield Method("dmarc", result.code, tested, policy, result.reason)


def _arc(result: ArcResult | None) -> Iterator[Method]:
    """RFC 8617 §10.1. What could not be found out has no registered word, and is left out."""
    if result is not None and result.status is not ArcCode.TEMPERROR:
        sealed = " ".join([f"i={result.instances}", *result.sealers[-1:]]) if result.instances else ""
        yield Method("arc", result.status, comment=sealed, reason=result.reason)


def _resinfo(method: Method) -> str:
    parts = [f"{method.name}={method.result}"]
    if method.comment:
        parts.append(f"({_harmless(method.comment[:MOST_REASON])})")
    if method.reason:
        parts.append(f"reason={_quoted(method.reason[:MOST_REASON])}")
    parts += (f"{name}={_value(value)}" for name, value in method.properties)
    return " ".join(parts)


def _value(text: str) -> str:
    short = text[:MOST_VALUE]
    return short if TOKEN.fullmatch(short) else _quoted(short)


def _quoted(text: str) -> str:
    return f'"{_harmless(text)}"'


def _harmless(text: str) -> str:
    return NOT_SHOWN.sub("?", text).translate(HARMLESS)
