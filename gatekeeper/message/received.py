"""The trace field of our own (RFC 5321 §4.4): the only place where a next hop behind XCLIENT learns of TLS."""

from __future__ import annotations

from gatekeeper.model import Envelope, Session
from gatekeeper.wire.address import AddressError, normal_domain, parse_path
from gatekeeper.wire.date import format_date
from gatekeeper.wire.headers import escape


def received_value(session: Session, envelope: Envelope, *, hostname: str, when: float) -> str:
    """The value of a Received field, folded; what the client said of itself stands in it only as far as it is a name.

    `when` is Unix time. A recipient is named only where there is but one, so that none learns of another.
    """
    parts = [f"from {_said(session)} ({_seen(session)})"]
    if session.tls is not None:
        tls = session.tls
        bits = f" ({tls.bits} bits)" if tls.bits else ""
        parts.append(f"(using {_word(tls.version)} with cipher {_word(tls.cipher)}{bits})")
    parts.append(f"by {_word(hostname)} (gatekeeper) with {_protocol(session, envelope)} id {_word(envelope.id)}")
    if len(envelope.recipients) == 1:
        path = envelope.recipients[0].address.raw
        if path and path.isascii() and path.isprintable() and not set(path) & set('()<>\\"'):
            parts.append(f"for <{path}>")
    return "\r\n ".join(parts) + f";\r\n {format_date(when)}"


def _said(session: Session) -> str:
    helo = session.helo or ""
    if normal_domain(helo) is not None and helo.isascii():
        return helo
    try:
        return parse_path(f"x@{helo}").domain if helo.startswith("[") else "unknown"
    except AddressError:
        return "unknown"


def _seen(session: Session) -> str:
    name = normal_domain(session.name or "") or "unknown"
    address = session.address
    if address is None:
        return name
    return f"{name} [{address}]" if address.version == 4 else f"{name} [IPv6:{address}]"


def _protocol(session: Session, envelope: Envelope) -> str:
    """The registered "with" word (RFC 3848, RFC 6531 §4.3)."""
    if not session.extended:
        return "SMTP"
    international = any(parameter.upper() == "SMTPUTF8" for parameter in envelope.parameters)
    kind = "UTF8SMTP" if international else "ESMTP"
    return kind + ("S" if session.tls is not None else "") + ("A" if session.login is not None else "")


def _word(text: str) -> str:
    """One word that cannot end the clause it stands in."""
    return "".join("?" if sign in ' ();\\"' else sign for sign in escape(text, 100))
