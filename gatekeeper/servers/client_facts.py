"""What a trusted peer says about the client, and how it is undone (Postfix XCLIENT_README, XFORWARD_README)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from gatekeeper.model import IPAddress, Session, Tls

Attributes = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """The facts that another server may tell, and the TLS of the connection, which is only the client's own as long as
    nobody else is named. `extended` is None where nobody said.
    """

    address: IPAddress | None
    port: int | None
    name: str | None
    helo: str | None
    extended: bool | None
    login: str | None
    tls: Tls | None = None

    @classmethod
    def of(cls, session: Session) -> ClientFacts:
        return cls(
            address=session.address,
            port=session.port,
            name=session.name,
            helo=session.helo,
            extended=session.extended,
            login=session.login,
            tls=session.tls,
        )

    def told(self, attributes: Attributes) -> ClientFacts:
        """These facts with those attributes over them; None among them is "not known".

        A new address is another client: whatever was known about the one before goes.
        """
        before = self
        if "ADDR" in attributes:
            address = attributes["ADDR"]
            before = ClientFacts(ip_address(address) if address else None, None, None, None, None, None)
        port = attributes.get("PORT", None if before.port is None else str(before.port))
        protocol = attributes.get("PROTO")
        return ClientFacts(
            address=before.address,
            port=None if port is None else int(port),
            name=attributes.get("NAME", before.name),
            helo=attributes.get("HELO", before.helo),
            extended=before.extended if protocol is None else protocol == "ESMTP",
            login=attributes.get("LOGIN", before.login),
            tls=before.tls,
        )

    def to(self, session: Session) -> None:
        session.address, session.port, session.name = self.address, self.port, self.name
        session.helo, session.extended, session.login = self.helo, self.extended, self.login
        session.tls = self.tls
