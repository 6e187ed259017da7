"""A plain question to a nameserver as a packet, and its plain answer (RFC 1035 §4, RFC 6891). Pure.

What is plain is read here in a few microseconds; whatever is not (cut short, a name with odd octets in the answer, a
response code that calls for another question) is left to c-ares, which knows all the rest.
"""

from __future__ import annotations

import struct
from socket import AF_INET6, inet_ntoa, inet_ntop
from typing import Any, Final

from gatekeeper.dns.answer import Answer, Status, end_of_aliases

PAYLOAD: Final = 1232
"""Octets of an answer that we take by UDP: what passes everywhere without being taken apart on the way."""
MOST_LABELS: Final = 400
"""Of all names of one answer that have to be read, those that pointers lead to each time anew."""

_HEAD: Final = b"\x01\x00\0\1\0\0\0\0\0\1"  # recursion desired; one question, one additional record
_OPT: Final = struct.pack(">BHHIH", 0, 41, PAYLOAD, 0, 0)
_TYPES: Final = {"A": 1, "NS": 2, "CNAME": 5, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
_QUESTION_ENDS: Final = {rtype: struct.pack(">BHH", 0, number, 1) for rtype, number in _TYPES.items()}
_CNAME: Final = 5
_OPT_TYPE: Final = 41
_LENGTHS: Final = tuple(bytes((n,)) for n in range(64))
_CASE: Final = bytes(0x20 if 97 <= octet <= 122 else 0 for octet in range(256))
_RECORD: Final = struct.Struct(">HHIH").unpack_from
_COUNTS: Final = struct.Struct(">HHHH").unpack_from
# Octets of a label that are written as they are in every form of a name; lower case already.
_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")


class _NotPlain(Exception):
    """Something that this module leaves to others."""


def question(name: str, rtype: str) -> bytes | None:
    """The question section for a name that can be asked for (lower case, no last dot); None for another type."""
    end = _QUESTION_ENDS.get(rtype)
    if end is None:
        return None
    return b"".join([_LENGTHS[len(label)] + label for label in name.encode().split(b".")]) + end


def shuffled(asked: bytes, dice: bytes) -> bytes:
    """The same question with letters in upper case as `dice` (as many octets) will: whoever forges has to guess them.

    A nameserver copies the question into its answer as it was written.
    """
    upper = int.from_bytes(asked.translate(_CASE), "big") & int.from_bytes(dice, "big")
    return (int.from_bytes(asked, "big") ^ upper).to_bytes(len(asked), "big")


def packet(number: bytes, asked: bytes) -> bytes:
    """What is sent: `number` are the two octets of the message's id."""
    return number + _HEAD + asked + _OPT


def is_answer(wire: bytes) -> bool:
    """Whether this is an answer to some one question at all."""
    return len(wire) >= 12 and wire[2] & 0xF8 == 0x80 and wire[4:6] == b"\0\1"


def answers_to(wire: bytes, asked: bytes) -> bool:
    """Whether this is an answer to that very question, letter by letter as it was written.

    The id is the caller's to compare.
    """
    return is_answer(wire) and wire.startswith(asked, 12)


def read(wire: bytes, asked: bytes, name: str, rtype: str) -> Answer | None:
    """What an answer that `answers_to` the question says; None if it is not plain. Never raises.

    As `nameservers.read` has it: the records at the name or at the end of its aliases, the smallest TTL on the way.
    """
    code = wire[3] & 0x0F
    if wire[2] & 0x02:  # cut short: to be fetched by TCP
        return None
    if code in _REFUSALS:
        return Answer(Status.REFUSED)
    if code not in {0, 3}:
        return None
    try:
        return _read(wire, 12 + len(asked), code, name, _TYPES[rtype])
    except (_NotPlain, IndexError, struct.error, ValueError):
        return None


_REFUSALS: Final = frozenset({2, 4, 5})  # SERVFAIL, NOTIMP, REFUSED


def _read(wire: bytes, at: int, code: int, name: str, wanted: int) -> Answer:
    answers, authorities, additional = _counts(wire)
    aliases: dict[str, tuple[str, int]] = {}
    found: list[tuple[str, int, int, int]] = []
    budget = [MOST_LABELS]
    for _ in range(answers):
        start = at
        at = _skip(wire, at)
        rtype, rclass, ttl, length = _RECORD(wire, at)
        at += 10
        if rtype in {wanted, _CNAME}:
            if rclass != 1 or ttl >> 31:
                raise _NotPlain
            owner = name if wire[start : start + 2] == b"\xc0\x0c" else _name(wire, start, budget)
            if rtype == wanted:
                found.append((owner, ttl, at, length))
            else:
                aliases[owner] = _target(wire, at, length, budget), ttl
        at += length
    for _ in range(authorities + additional):
        at = _skip(wire, at)
        rtype, _, extended, length = _RECORD(wire, at)
        if rtype == _OPT_TYPE and extended >> 24:  # the upper half of a response code that the lower one belies
            raise _NotPlain
        at += 10 + length
    if at != len(wire):
        raise _NotPlain
    if code:
        return Answer(Status.NXDOMAIN)
    if not answers:
        return Answer(Status.NODATA)
    end = end_of_aliases(name, aliases)
    if end is None:
        return Answer(Status.NONSENSE)
    owner, ttls = end
    records = []
    for one, ttl, start, length in found:
        if one == owner:
            records.append(_value(wire, wanted, start, length, budget))
            ttls.append(ttl)
    if records:
        return Answer(Status.OK, tuple(records), float(min(ttls)))
    return Answer(Status.NODATA if aliases else Status.NONSENSE)


def _counts(wire: bytes) -> tuple[int, int, int]:
    _, answers, authorities, additional = _COUNTS(wire, 4)
    return answers, authorities, additional


def _skip(wire: bytes, at: int) -> int:
    """Where a name ends."""
    while True:
        length = wire[at]
        if length >= 0xC0:
            return at + 2
        if not length:
            return at + 1
        if length > 63:
            raise _NotPlain
        at += 1 + length


def _name(wire: bytes, at: int, budget: list[int]) -> str:
    """A name in lower case. Pointers lead back only, so that none leads in a circle."""
    labels: list[bytes] = []
    before = at
    long = 0
    while True:
        length = wire[at]
        if length >= 0xC0:
            at = (length & 0x3F) << 8 | wire[at + 1]
            if not 12 <= at < before:
                raise _NotPlain
            before = at
            length = wire[at]
            if length >= 0xC0:  # a pointer to a pointer: nobody writes that
                raise _NotPlain
        if not length:
            return b".".join(labels).decode("ascii")
        if length > 63:
            raise _NotPlain
        label = wire[at + 1 : at + 1 + length].lower()
        budget[0] -= 1
        long += 1 + length
        if len(label) != length or budget[0] < 0 or long > 254 or not _PLAIN.issuperset(label):
            raise _NotPlain
        labels.append(label)
        at += 1 + length


def _target(wire: bytes, at: int, length: int, budget: list[int]) -> str:
    """The name that is all of a record's data."""
    if _skip(wire, at) != at + length:
        raise _NotPlain
    return _name(wire, at, budget)


def _value(wire: bytes, rtype: int, at: int, length: int, budget: list[int]) -> Any:
    if rtype == 1:
        if length != 4:
            raise _NotPlain
        return inet_ntoa(wire[at : at + 4])
    if rtype == 28:
        if length != 16:
            raise _NotPlain
        return inet_ntop(AF_INET6, wire[at : at + 16])
    if rtype == 16:
        return _strings(wire, at, length)
    if rtype == 15:
        return wire[at] << 8 | wire[at + 1], _target(wire, at + 2, length - 2, budget)
    return _target(wire, at, length, budget)


def _strings(wire: bytes, at: int, length: int) -> bytes:
    """Those of a TXT record, joined."""
    strings = []
    end = at + length
    if not length:
        raise _NotPlain
    while at < end:
        strings.append(wire[at + 1 : at + 1 + wire[at]])
        at += 1 + wire[at]
    if at != end:
        raise _NotPlain
    return b"".join(strings)
