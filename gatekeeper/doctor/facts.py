"""Everything that `gatekeeper doctor` knows before it judges: values, gathered in gather.py."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from gatekeeper.config import Configuration
from gatekeeper.doctor.postfix import Endpoint, Postfix, Service
from gatekeeper.nexthop import Capabilities
from gatekeeper.wire.listen import ListenAddress


class Mode(enum.Enum):
    """A way to stand in front of the MTA, or what is asked once for all of them."""

    FRONT = "front"  # gatekeeper, then the MTA
    BEHIND = "behind"  # smtpd_proxy_filter
    MILTER = "milter"
    POLICY = "policy service"
    ALL = "all modes"


@dataclass(frozen=True, slots=True)
class Attachment:
    """How the MTA and one of our servers are tied together; what Postfix did not tell is empty or None."""

    mode: Mode
    listen: tuple[ListenAddress, ...] = ()  # ours
    entrances: tuple[Service, ...] = ()  # Postfix services that ask us; in front mode nobody does
    endpoint: Endpoint | None = None  # where they find us
    inner: Service | None = None  # the Postfix service behind us: our next hop


@dataclass(frozen=True, slots=True)
class NextHopFacts:
    """What the next hop said. `capabilities` is None where it did not answer; `why` says why not."""

    capabilities: Capabilities | None
    takes_xclient: bool = False
    why: str = ""
    cannot_verify: bool = False  # it was not asked: there is nothing to verify its certificate with


@dataclass(frozen=True, slots=True)
class ResolverFacts:
    """`nameservers` are addresses, with those that a stub on this machine asks in turn."""

    nameservers: tuple[str, ...]
    answers: bool
    invents: bool = False  # it has an address for a name that cannot exist
    why: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An MX of one of our domains, and those of its addresses that are not this machine's."""

    domain: str
    host: str
    elsewhere: tuple[str, ...]


class Port(enum.Enum):
    """What is found where one of our servers is to listen."""

    OURS = "ours"  # something answers as we would
    FREE = "free"  # nobody there; we could open it
    TAKEN = "taken"  # another program answers
    NOT_HERE = "not here"  # this machine does not have that address
    FORBIDDEN = "forbidden"  # whoever runs this may not open it; the service may
    UNSEEN = "unseen"  # systemd opens it


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key as they are on disk; `faults` are sentences, empty when all is well."""

    certificate: str
    key: str
    faults: tuple[str, ...]
    days_left: float | None = None


@dataclass(frozen=True, slots=True)
class SigningFact:
    """A signing key: where its public part is to be published, `record`, which is empty where the file cannot be used.

    `fault` is a sentence about file or DNS, empty when all is well; `unsure` where DNS did not answer.
    """

    name: str
    file: str
    record: str = ""
    fault: str = ""
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known. Nothing here is judged."""

    file: str
    configuration: Configuration
    postfix: Postfix | None = None
    why_no_postfix: str = ""
    next_hop: NextHopFacts | None = None  # None without a server that has one
    resolver: ResolverFacts = field(default_factory=lambda: ResolverFacts((), answers=True))
    exchanges: tuple[Exchange, ...] = ()
    ports: Mapping[str, Port] = field(default_factory=dict)  # by the address as written
    barred: Mapping[str, str] = field(
        default_factory=dict
    )  # path of a UNIX socket that is there -> what keeps Postfix out, or ""
    certificate: Certificate | None = None
    signing: tuple[SigningFact, ...] = ()
    store_fault: str = ""  # why the store's file could not be written
