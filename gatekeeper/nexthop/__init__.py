"""Our client side: SMTP or LMTP to the MTA, pipelined, with its replies passed back as they are (RFC 5321, 2920)."""

from gatekeeper.nexthop.contract import (
    Capabilities,
    Command,
    NextHopGone,
    RelayAnswer,
    Transaction,
    Withdrawn,
)
from gatekeeper.nexthop.next_hop import NextHop
from gatekeeper.nexthop.protection import CannotVerify
from gatekeeper.nexthop.settings import NextHopUrl, Settings
from gatekeeper.wire.xclient import Client

__all__ = [
    "CannotVerify",
    "Capabilities",
    "Client",
    "Command",
    "NextHop",
    "NextHopGone",
    "NextHopUrl",
    "RelayAnswer",
    "Settings",
    "Transaction",
    "Withdrawn",
]
