"""A DNS server for everybody in the corpus: UDP on loopback, answers encoded beforehand (RFC 1035).

It works by rule, not by list: any client number is known. In a process of its own, which ends when its parent does.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from ipaddress import IPv4Address
from multiprocessing import Process

from gatekeeper.bench.letters import SELECTOR, ZONE

_A, _PTR, _TXT = 1, 12, 16
_TTL = 3600
FIRST_ZOMBIE = 128
"""From 198.19.128.0 on every client is on every list."""
_CLIENT = re.compile(rb"c-(\d+-\d+-\d+-\d+)")
_REVERSED = (b"18", b"198", b"in-addr", b"arpa"), (b"19", b"198", b"in-addr", b"arpa")


def start(key_record: bytes, at: tuple[str, int] = ("127.0.0.1", 0)) -> tuple[Process, str]:
    """The running server and its "address:port"; whoever called ends it with `terminate`."""
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    here.bind(at)
    process = Process(target=_serve, args=(here, key_record, os.getpid()), daemon=True)
    process.start()
    address = f"{at[0]}:{here.getsockname()[1]}"
    here.close()
    return process, address


def _serve(here: socket.socket, key_record: bytes, parent: int) -> None:
    answers = _answers(key_record)
    here.settimeout(1.0)
    while os.getppid() == parent:
        try:
            query, client = here.recvfrom(1500)
        except TimeoutError:
            continue
        here.sendto(_reply(query, answers), client)


def _answers(key_record: bytes) -> dict[tuple[bytes, ...], bytes]:
    """The TXT records by what stands before a client's own label."""
    return {
        (): _txt(f"v=spf1 include:_spf.{ZONE} include:_more.{ZONE} -all".encode()),
        (b"_dmarc",): _txt(b"v=DMARC1; p=reject; adkim=r; aspf=r"),
        (SELECTOR.encode(), b"_domainkey"): _txt(key_record),
        (b"_spf",): _txt(b"v=spf1 ip4:192.0.2.0/24 -all"),
        (b"_more",): _txt(b"v=spf1 ip4:198.18.0.0/15 -all"),
    }


def _reply(query: bytes, answers: dict[tuple[bytes, ...], bytes]) -> bytes:
    labels = []
    at = 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].lower())
        at += 1 + query[at]
    rtype = query[at + 1] << 8 | query[at + 2]
    records = _records(labels, rtype, answers)
    exists = records is not None
    head = query[:2] + struct.pack(">HHHHH", 0x8580 if exists else 0x8583, 1, bool(records), 0, 0)
    return head + query[12 : at + 5] + (records or b"")


def _records(labels: list[bytes], rtype: int, answers: dict[tuple[bytes, ...], bytes]) -> bytes | None:
    """The one record of a name, empty if there is none of that type, None if there is no such name."""
    if tuple(labels[2:]) in _REVERSED:
        name = b"c-198-%s-%s-%s" % (labels[2], labels[1], labels[0])
        return _record(_PTR, _encoded(name, *ZONE.encode().split(b"."))) if rtype == _PTR else b""
    own = labels[: -len(ZONE.split("."))]
    if not own:
        return b""
    if own[-1][:2] == b"bl" and own[-3:-1] == [b"19", b"198"] and int(own[-4]) >= FIRST_ZOMBIE:
        return _record(_A, b"\x7f\0\0\2") if rtype == _A else b""
    if found := _CLIENT.fullmatch(own[-1]):
        if len(own) > 1:
            return None
        return _record(_A, IPv4Address(found[1].replace(b"-", b".").decode()).packed) if rtype == _A else b""
    if own[-1][:1] == b"d":
        own = own[:-1]
    elif own[-1][:1] != b"_":
        return None  # the lists know nobody
    answer = answers.get(tuple(own))
    return answer if answer is None or rtype == _TXT else b""


def _encoded(*labels: bytes) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _txt(text: bytes) -> bytes:
    return _record(
        _TXT, b"".join(bytes([len(text[i : i + 255])]) + text[i : i + 255] for i in range(0, len(text), 255))
    )


def _record(rtype: int, data: bytes) -> bytes:
    """One resource record of the name that was asked for (a pointer to it)."""
    return struct.pack(">HHHIH", 0xC00C, rtype, 1, _TTL, len(data)) + data
