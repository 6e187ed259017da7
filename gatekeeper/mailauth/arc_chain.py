"""The ARC sets of a message (RFC 8617 §4.1, §4.2): three fields for each who handled it, numbered without a gap."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gatekeeper.mailauth.dkim_canonical import BodyKind
from gatekeeper.mailauth.dkim_key import KeyType
from gatekeeper.mailauth.dkim_signature import (
    ALGORITHMS,
    MOST_FIELD,
    Settled,
    Signature,
    name_of,
    read_signature,
)
from gatekeeper.mailauth.dkimpy import NotTags, tag_list
from gatekeeper.message.header import header_of
from gatekeeper.model import Message
from gatekeeper.wire.auth_results import AuthResults, past_comments, read
from gatekeeper.wire.headers import Field, Header

MOST_SETS = 50
"""RFC 8617 §5.1: nobody adds a set beyond it, and a chain that has more has failed."""
RESULTS, MESSAGE_SIGNATURE, SEAL = "arc-authentication-results", "arc-message-signature", "arc-seal"
FIELDS = (RESULTS, MESSAGE_SIGNATURE, SEAL)
"""The fields of a set in the order in which they are sealed (§5.1.1)."""

_INSTANCE = re.compile(r"i *= *([0-9]{1,2}) *;")
_NUMBER = re.compile(rb"[0-9]{1,2}")


class BrokenChain(Exception):
    """The chain has failed, or is none; the text says why, in our words."""


@dataclass(frozen=True, slots=True)
class Seal:
    """An ARC-Seal field that can be verified (§4.1.3)."""

    field: Field
    kind: KeyType
    signed: bytes  # b=
    domain: str
    selector: str
    chain: str  # cv=, in lower case


@dataclass(frozen=True, slots=True)
class ArcSet:
    """What one who handled the message has added; of the results only where they stand is looked at here."""

    results: Field
    message_signature: Field
    seal: Seal

    @property
    def fields(self) -> tuple[Field, Field, Field]:
        """In the order in which they are sealed."""
        return self.results, self.message_signature, self.seal.field


@dataclass(frozen=True, slots=True)
class Chain:
    """Every set, the oldest first, and the newest message signature; () when there is none.

    `broken` says why what stands there is no chain; then it has no sets. `count` is how many seals there are.
    """

    sets: tuple[ArcSet, ...] = ()
    newest: Signature | None = None
    broken: str = ""
    count: int = 0


def chain_of(message: Message) -> Chain:
    """The message's chain, read at the first call. Nothing of it is verified here."""
    chain: Chain | None = message.memo.get("arc_chain")
    if chain is None:
        chain = message.memo["arc_chain"] = read_chain(header_of(message))
    return chain


def body_kind_of(chain: Chain) -> BodyKind | None:
    """The form of the body that the newest message signature covers."""
    return None if chain.newest is None else (chain.newest.body_canon, chain.newest.limit)


def read_chain(header: Header) -> Chain:
    """RFC 8617 §5.2, steps 1 to 3; in linear time, never raises."""
    count = len(header.all(SEAL))
    if not any(header.all(name) for name in FIELDS):
        return Chain()
    try:
        sets = _sets(header)
        newest = _message_signature(sets[-1].message_signature)
    except BrokenChain as broken:
        return Chain(broken=str(broken), count=count)
    except Settled as settled:
        return Chain(broken=f"newest message signature: {settled.reason}", count=count)
    return Chain(tuple(sets), newest, count=count)


def results_of(one: ArcSet) -> AuthResults | None:
    """What whoever made this set found; None when that cannot be read."""
    text, place = _instance(one.results)
    return None if text is None else read(text[place:].encode())


def _sets(header: Header) -> list[ArcSet]:
    if max(len(header.all(name)) for name in FIELDS) > MOST_SETS:
        raise BrokenChain(f"more than {MOST_SETS} sets")
    found = {name: _by_instance(name, header) for name in FIELDS}
    wanted = range(1, len(found[SEAL]) + 1)
    if any(sorted(fields) != list(wanted) for fields in found.values()):
        raise BrokenChain("the sets have a gap, or parts are missing")
    sets = []
    for instance in wanted:
        seal = _seal(*found[SEAL][instance])
        expected = "none" if instance == 1 else "pass"
        if seal.chain != expected:
            raise BrokenChain(f"set {instance} says cv={seal.chain[:20]}")
        sets.append(ArcSet(found[RESULTS][instance][0], found[MESSAGE_SIGNATURE][instance][0], seal))
    return sets


Tags = Mapping[bytes, bytes]


def _by_instance(name: str, header: Header) -> dict[int, tuple[Field, Tags]]:
    found: dict[int, tuple[Field, Tags]] = {}
    for field in header.all(name):
        if field.defects or len(field.value) > 2 * MOST_FIELD:
            raise BrokenChain(f"{name} is not a proper field")
        tags: Tags = {}
        if name == RESULTS:
            instance = _instance(field)[1] and _number_of_results(field)
        else:
            try:
                tags = tag_list(field.value)
            except NotTags:
                raise BrokenChain(f"{name} is not a list of tags") from None
            digits = tags.get(b"i", b"")
            instance = int(digits) if _NUMBER.fullmatch(digits) else 0
        if not instance:
            raise BrokenChain(f"{name} without an instance")
        if instance in found:
            raise BrokenChain(f"two {name} in set {instance}")
        found[instance] = field, tags
    return found


def _instance(field: Field) -> tuple[str | None, int]:
    """The text of an ARC-Authentication-Results field, and where what follows its `i=1;` begins; 0 without one."""
    try:
        text = field.value.replace(b"\r\n", b"").decode().replace("\t", " ")
    except UnicodeDecodeError:
        return None, 0
    start = past_comments(text, 0)
    match = None if start is None else _INSTANCE.match(text, start)
    return (text, match.end()) if match is not None else (None, 0)


def _number_of_results(field: Field) -> int:
    text, end = _instance(field)
    match = None if text is None else _INSTANCE.search(text[:end])
    return int(match[1]) if match is not None else 0


def _seal(field: Field, tags: Tags) -> Seal:
    for tag in (b"a", b"b", b"cv", b"d", b"s"):
        if tag not in tags:
            raise BrokenChain(f"a seal without {tag.decode()}=")
    if b"h" in tags:  # §4.1.3: what a seal covers is not its maker's to choose
        raise BrokenChain("a seal with h=")
    algorithm = tags[b"a"].lower()
    if algorithm not in ALGORITHMS:
        raise BrokenChain("a seal of an unknown algorithm")
    domain, selector = name_of(tags[b"d"]), name_of(tags[b"s"])
    if domain is None or selector is None or "." not in domain:
        raise BrokenChain("d= or s= of a seal is not a name")
    try:
        signed = base64.b64decode(b"".join(tags[b"b"].split()), validate=True)
    except binascii.Error:
        raise BrokenChain("b= of a seal is not base64") from None
    return Seal(field, ALGORITHMS[algorithm], signed, domain, selector, tags[b"cv"].decode("latin-1").lower())


def _message_signature(field: Field) -> Signature:
    """§4.1.2: a DKIM-Signature without v=, whose i= is the instance. Raises Settled or BrokenChain."""
    tags = dict(tag_list(field.value))
    if b"v" in tags:
        raise BrokenChain("a message signature with v=")
    del tags[b"i"]
    signature = read_signature(field, {b"v": b"1", **tags})
    if SEAL in signature.names:
        raise BrokenChain("a message signature that covers seals")
    return signature
