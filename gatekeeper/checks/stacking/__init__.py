"""Recipient stacking: RCPT, VRFY, RSET and QUIT used to find out who exists. `check.py` is the check itself."""

from gatekeeper.checks.stacking.check import Stacking
from gatekeeper.checks.stacking.evidence import BLIND, BLOCKED, SLOW, Blocked, Probing
from gatekeeper.checks.stacking.keys import helo_key

__all__ = ["BLIND", "BLOCKED", "SLOW", "Blocked", "Probing", "Stacking", "helo_key"]
