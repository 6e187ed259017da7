"""Postfix's policy delegation: what its SMTP server asks, and the answer (Postfix SMTPD_POLICY_README).

A request is lines of name=value and an empty line; an answer is one line, action=…, and an empty line. Postfix sends
what it has read already: addresses are in internal form (without quotes), names may be "unknown".
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from gatekeeper.model import Address, IPAddress, Tls
from gatekeeper.wire.address import told_mailbox

REQUEST_OCTETS: Final = 32 * 1024
"""Of one request with its empty line. Real ones are below 2 kB; a client certificate may add some."""
ANSWER_OCTETS: Final = 1000
"""Of one action. Postfix reads more, but a header line of RFC 5322 §2.1.1 and a reply both end before."""


class PolicyError(ValueError):
    """Not a policy request. The text is for our log; Postfix is told nothing, as its documentation asks."""


class State(enum.Enum):
    """Where in the SMTP session Postfix asks (`protocol_state`)."""

    CONNECT = "CONNECT"  # only with smtpd_delay_reject=no, as the next two
    HELO = "HELO"  # or EHLO
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"  # or the first BDAT
    END = "END-OF-MESSAGE"
    VRFY = "VRFY"
    ETRN = "ETRN"


_STATES: Final = {state.value: state for state in State} | {"EHLO": State.HELO, "BDAT": State.DATA}
_OF_A_MAIL: Final = (State.RCPT, State.DATA, State.END)


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """One question. None (and "" for `instance` and `queue_id`) is what Postfix does not know or has not told.

    `state` is None for one that did not exist when this was written. `instance` is the same for all questions about
    one mail, and never used again. `sender` is told from RCPT on. `recipient` is the one in question, or the only one
    that was accepted. `recipient_count` is how many Postfix has accepted, from DATA on. `size` is what the client
    said, at the end of the message what it is. `name` was verified by Postfix, `reverse_name` by nobody.
    """

    state: State | None
    instance: str = ""
    address: IPAddress | None = None
    port: int | None = None
    name: str | None = None
    reverse_name: str | None = None
    helo: str | None = None
    extended: bool | None = None
    tls: Tls | None = None
    login: str | None = None
    sender: Address | None = None
    recipient: Address | None = None
    recipient_count: int | None = None
    size: int | None = None
    queue_id: str = ""


class RequestReader:
    """Octets in, requests out. After a PolicyError nothing more can be read from that peer."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0

    @property
    def waiting(self) -> int:
        """Octets that have come and were not read as a request yet; some at the end mean that one was cut off."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        self._buffer += data

    def next_request(self) -> PolicyRequest | None:
        """The next request that is here whole. Raises PolicyError."""
        buffer = self._buffer
        end = buffer.find(b"\n\n", self._scanned)
        if max(end, len(buffer) - 2 if end < 0 else 0) > REQUEST_OCTETS - 2:
            raise PolicyError(f"a request of more than {REQUEST_OCTETS} octets, or one without an empty line")
        if buffer.startswith(b"\n"):
            raise PolicyError("an empty line without a request before it")
        if end < 0:
            self._scanned = max(0, len(buffer) - 1)
            return None
        text = bytes(buffer[:end])
        del buffer[: end + 2]
        self._scanned = 0
        return read_request(text)


def read_request(text: bytes) -> PolicyRequest:
    """`text` is the lines of one request without the empty line.

    Names that are not known are left out; of a name that comes twice the last one counts. Octets that are no UTF-8
    (Postfix passes them on where SMTPUTF8 is switched off) become U+FFFD. Raises PolicyError.
    """
    if b"\0" in text:
        raise PolicyError("a NUL octet in a request")
    found: dict[bytes, str] = {}
    for line in text.split(b"\n"):
        name, equals, value = line.partition(b"=")
        if not equals or not name:
            raise PolicyError("a line that is not name=value")
        if name in _NAMES:
            found[name] = value.decode("utf-8", "replace")
    if found.get(b"request") != "smtpd_access_policy":
        raise PolicyError("not a request of smtpd_access_policy")
    return _request(found)


_NAMES: Final = frozenset(
    (
        b"request protocol_state protocol_name helo_name queue_id sender recipient recipient_count client_address "
        b"client_port client_name reverse_client_name instance sasl_username size encryption_protocol "
        b"encryption_cipher encryption_keysize"
    ).split()
)


def _request(found: Mapping[bytes, str]) -> PolicyRequest:
    state = _STATES.get(found.get(b"protocol_state", ""))
    of_a_mail = state in _OF_A_MAIL
    protocol = found.get(b"protocol_name")
    sender, recipient = found.get(b"sender"), found.get(b"recipient")
    return PolicyRequest(
        state=state,
        instance=found.get(b"instance", ""),
        address=_address(found.get(b"client_address", "")),
        port=_number(found, b"client_port") or None,
        name=_name(found, b"client_name"),
        reverse_name=_name(found, b"reverse_client_name"),
        helo=found.get(b"helo_name") or None,
        extended=None if not protocol else protocol != "SMTP",
        tls=_tls(found),
        login=found.get(b"sasl_username") or None,
        sender=told_mailbox(sender) if sender is not None and (sender or of_a_mail) else None,
        recipient=told_mailbox(recipient) if recipient else None,
        recipient_count=_number(found, b"recipient_count") if of_a_mail and state is not State.RCPT else None,
        size=_number(found, b"size") or None,
        queue_id=found.get(b"queue_id", ""),
    )


def _address(text: str) -> IPAddress | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None  # "unknown", or a UNIX socket
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


def _number(found: Mapping[bytes, str], name: bytes) -> int | None:
    text = found.get(name, "")
    return int(text) if _DIGITS.fullmatch(text) else None


_DIGITS: Final = re.compile(r"[0-9]{1,18}")


def _name(found: Mapping[bytes, str], name: bytes) -> str | None:
    text = found.get(name, "")
    return None if text in ("", "unknown") else text


def _tls(found: Mapping[bytes, str]) -> Tls | None:
    version = found.get(b"encryption_protocol")
    if not version:
        return None
    return Tls(version, found.get(b"encryption_cipher", ""), _number(found, b"encryption_keysize") or 0)


_NOT_OF_ANSWERS: Final = re.compile(r"[^ -~]+")


def encode_answer(action: str) -> bytes:
    """`action` as access(5) has it, such as "DUNNO" or "550 5.7.1 why". What is not printable ASCII becomes a "?"."""
    return b"action=" + _NOT_OF_ANSWERS.sub("?", action)[:ANSWER_OCTETS].encode("ascii") + b"\n\n"
