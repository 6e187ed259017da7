"""What somebody speaks who does not speak SMTP: known by the first octets that come from a client. Pure.

Scanners, misdirected browsers, TLS where the port is a plain one, a proxy's header where none is expected. Nothing here
can be the beginning of an SMTP command (RFC 5321 §4.1.1).
"""

from __future__ import annotations

import re
from typing import Final

ENOUGH: Final = 64
"""Octets that are looked at."""

# A v2 header's signature begins with line ends, so that other servers choke on it (proxy-protocol.txt §2.2).
_PROXY_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_HTTP: Final = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT|PROPFIND|PRI) |M-SEARCH |HTTP/", re.IGNORECASE
)
_TLS: Final = re.compile(rb"\x16\x03[\x00-\x04]|\x80[\x00-\xff]\x01(?:\x03[\x00-\x04]|\x00\x02)", re.DOTALL)


def other_protocol(octets: bytes) -> str | None:
    """The protocol whose first words these are; None where it may be SMTP, or is too little to tell.

    "tls" · "http" (RTSP and SIP begin alike) · "ssh" · "socks" · "PROXY header" · "a binary protocol".
    """
    first = octets[:1]
    if not first:
        return None
    if first.isalpha():
        if _HTTP.match(octets):
            return "http"
        if octets.startswith(b"SSH-"):
            return "ssh"
        return "PROXY header" if octets.startswith((b"PROXY TCP", b"PROXY UNKNOWN")) else None
    if octets.startswith(_PROXY_V2):
        return "PROXY header"
    if _TLS.match(octets):
        return "tls"
    if first in {b"\x04", b"\x05"}:
        return "socks"
    if first < b" " and first not in b"\t\r\n":
        return "a binary protocol"
    return None
