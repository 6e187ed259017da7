"""THE TABLE: stage -> waves -> checks.

The checks of one wave run side by side; a check that needs another's evidence stands in a later wave. Findings of
CONNECT and HELO live as long as the session's facts, of RCPT with one recipient, the others with the transaction.
Looking up the client (HELO) waits for MAIL: whoever leaves before that costs no question. Who was made to wait for the
greeting has had time for it: checks with `ahead` are run then, and if they refuse it for all, the others are not.
Of several rules that decide alone the first found counts, so the operator's lists stand before whoever else decides.

To add a check: write `checks/NAME.py`, add its class here, run `make reference` (docs/adding-a-check.md).
"""

from __future__ import annotations

from typing import Final

from gatekeeper.checks.arc import Arc
from gatekeeper.checks.attachments import Attachments
from gatekeeper.checks.base import Check
from gatekeeper.checks.clamav import ClamAv
from gatekeeper.checks.classifier import Classifier
from gatekeeper.checks.dkim import Dkim
from gatekeeper.checks.dmarc import Dmarc
from gatekeeper.checks.dnsbl import Dnsbl
from gatekeeper.checks.fuzzy import Fuzzy
from gatekeeper.checks.greylist import Greylist
from gatekeeper.checks.headers import Headers
from gatekeeper.checks.helo import Helo
from gatekeeper.checks.links import Links
from gatekeeper.checks.lookups import Lookups
from gatekeeper.checks.manners import Manners
from gatekeeper.checks.mime import Mime
from gatekeeper.checks.operator_lists import OperatorLists
from gatekeeper.checks.rates import Rates
from gatekeeper.checks.reverse_dns import ReverseDns
from gatekeeper.checks.rules import Rules
from gatekeeper.checks.sender_domain import SenderDomain
from gatekeeper.checks.spf import Spf
from gatekeeper.checks.stacking import Stacking
from gatekeeper.checks.uribl import Uribl
from gatekeeper.model import Stage

Waves = tuple[tuple[type[Check], ...], ...]

TABLE: Final[dict[Stage, Waves]] = {
    Stage.CONNECT: ((OperatorLists, Stacking, Rates),),
    Stage.HELO: ((Helo, Dnsbl, ReverseDns),),
    Stage.MAIL: ((Spf,), (OperatorLists, SenderDomain, Rates, Uribl)),
    Stage.RCPT: ((OperatorLists, Stacking, Rates), (Greylist,)),
    Stage.DATA: ((Manners, Lookups),),
    Stage.MESSAGE: (
        (Headers, Spf, Dkim, Arc, Links, Mime, Rules, Classifier),
        (OperatorLists, Dmarc, Rates, Uribl, Attachments, Fuzzy, ClamAv),
        (Greylist, Lookups),
    ),
}

CHECKS: Final[tuple[type[Check], ...]] = tuple(
    dict.fromkeys(check for waves in TABLE.values() for wave in waves for check in wave)
)
