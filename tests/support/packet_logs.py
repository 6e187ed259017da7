"""Packet logs of real milter conversations, among the corpora."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.corpora import corpora


def packets_of(log: str) -> Iterator[tuple[bool, bytes]]:
    """The blocks of a packet log: whether the mail server sent it, and its octets."""
    block: list[str] = []
    for line in [*log.splitlines(), "Data (0 bytes)"]:
        if line.lstrip().startswith("Data ("):
            if block:
                yield not block[0].startswith(" "), bytes.fromhex("".join(row.strip()[6:54] for row in block))
            block = []
        elif re.match(r"\s*[0-9a-f]{4}  ", line):
            block.append(line)


def packet_logs() -> list[Path]:
    return sorted(corpora("milter").rglob("milter-packet*"))
