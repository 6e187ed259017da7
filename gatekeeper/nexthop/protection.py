"""TLS towards the next hop: whether it is asked for, and what is believed (RFC 3207, RFC 6125)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from gatekeeper.nexthop.contract import NextHopGone
from gatekeeper.nexthop.settings import NextHopUrl, Settings


class NoTls(NextHopGone):
    """STARTTLS was agreed on, and the handshake came to nothing."""


class CannotVerify(Exception):
    """There is nothing to verify a certificate with. The text is one sentence for the operator, with the mend."""


@dataclass(frozen=True, slots=True)
class Protection:
    """STARTTLS whenever it is offered. `needed` is whether mail stays here without it."""

    context: ssl.SSLContext
    needed: bool
    name: str | None = None  # that the certificate must have

    @classmethod
    def of(cls, settings: Settings, url: NextHopUrl) -> Protection | None:
        """None where TLS is not wanted. Reads the file of authorities. Raises CannotVerify."""
        if settings.tls == "none":
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        if settings.tls != "verify":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return cls(context, needed=settings.tls == "required")
        name = settings.tls_name or url.host
        if name is None:
            raise CannotVerify(
                f'tls = "verify" does not know which name {url} must have; write it as tls_name in [nexthop]'
            )
        if not settings.tls_ca_file:
            context.load_default_certs()
            return cls(context, needed=True, name=name)
        try:
            context.load_verify_locations(settings.tls_ca_file)
        except ssl.SSLError:
            raise CannotVerify(f"tls_ca_file {settings.tls_ca_file} holds no certificate in PEM") from None
        except OSError as error:
            raise CannotVerify(
                f"tls_ca_file {settings.tls_ca_file} cannot be read: {error.strerror}; put it there, or name another"
            ) from None
        return cls(context, needed=True, name=name)
