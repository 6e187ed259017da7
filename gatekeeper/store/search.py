"""What a record query matches, the same in every backend: addresses as sortable keys, parties, limits. Pure."""

from __future__ import annotations

import ipaddress

from gatekeeper.store.base import RecordQuery, StoredRecord

MOST_FOUND = 10_000
"""No query brings more records than this at once."""
NULL_SENDER = "<>"
"""How a query names the empty sender, since "" does not restrict."""


def address_key(text: str) -> bytes:
    """An IP address as bytes that sort by family and then by number; b"" for what is none (a Unix socket's peer).

    An IPv4-mapped IPv6 address is the IPv4 address (RFC 4291 §2.5.5.2).
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return b""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return bytes((address.version,)) + address.packed


def address_range(text: str) -> tuple[bytes, bytes]:
    """The first and the last `address_key` of an address or a CIDR network. Raises ValueError for what is neither."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is neither an IP address nor a network such as 192.0.2.0/24") from None
    return address_key(str(network.network_address)), address_key(str(network.broadcast_address))


def domain_of(address: str) -> str:
    """The part that a query names as "@example.org"; "" for an address without a domain."""
    _, at, domain = address.rpartition("@")
    return "@" + domain if at else ""


def party(text: str) -> str:
    """A queried sender or recipient as it is compared: lower case, "" for the null sender."""
    return "" if text == NULL_SENDER else text.lower()


def most(query: RecordQuery) -> int:
    return max(0, min(query.limit, MOST_FOUND))


def newest_first(record: StoredRecord) -> tuple[float, str]:
    """A sort key, to be used in reverse."""
    return record.time, record.id


def matches(record: StoredRecord, query: RecordQuery) -> bool:
    """Whether a record is asked for; the one definition that each backend's query has to agree with."""
    if query.id and record.id != query.id:
        return False
    if query.sender and party(query.sender) not in {record.sender, domain_of(record.sender) or None}:
        return False
    if query.recipient:
        wanted = party(query.recipient)
        if not any(wanted in {one, domain_of(one) or None} for one in record.recipients):
            return False
    if query.address:
        first, last = address_range(query.address)
        if not first <= address_key(record.address) <= last:
            return False
    if query.queue_id and record.queue_id != query.queue_id:
        return False
    if query.action and record.action != query.action:
        return False
    return record.time >= query.since and (not query.until or record.time < query.until)
