"""DNS lists that are no more. Some answer nothing, some list the whole world, since somebody else has their name now.

Told when the configuration is read, so that nobody waits for mail to be refused first. A zone counts with all under
it. The dates are those of public announcements; where none is known the year since when it is known to be gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Death:
    """What became of a list, since when, and what to ask instead ("" for nothing)."""

    what: str
    since: str
    instead: str = ""

    def __str__(self) -> str:
        return f"{self.what} (since {self.since})" + (f"; ask {self.instead} instead" if self.instead else "")


_EMPTY, _WORLD, _CLOSED = "was emptied", "lists the whole world", "was closed"

DEAD: Final[Mapping[str, Death]] = MappingProxyType(
    {
        "ahbl.org": Death(_WORLD, "2015-01-01"),
        "bl.emailbasura.org": Death(_WORLD, "2019"),
        "bl.spamcannibal.org": Death(_WORLD, "2018"),
        "cbl.abuseat.org": Death("became a part of Spamhaus' XBL", "2021", "zen.spamhaus.org"),
        "db.wpbl.info": Death(_CLOSED, "2025"),
        "dnsbl.burnt-tech.com": Death(_WORLD, "2018"),
        "dnsbl.cyberlogic.net": Death(_CLOSED, "2018"),
        "dnsbl.inps.de": Death(_CLOSED, "2020-05-25"),
        "dnsbl.madavi.de": Death(_CLOSED, "2025-03"),
        "dnsrbl.org": Death("is not kept any more", "2021"),
        "ix.dnsbl.manitu.net": Death(_EMPTY, "2025-01-17"),
        "njabl.org": Death(_EMPTY, "2013"),
        "nszones.com": Death("copied other lists' data without leave", "2018"),
        "rbl.megarbl.net": Death(_WORLD, "2019-11"),
        "rbl.msrbl.net": Death("has listed the whole world twice", "2017"),
        "relays.ordb.org": Death(_WORLD, "2006"),
        "rfc-ignorant.org": Death(_CLOSED, "2012"),
        "sectoor.de": Death(_CLOSED, "2018-06"),
        "sorbs.net": Death(_EMPTY, "2024-06-05"),
        "ubl.lashback.com": Death("does not answer any more", "2024"),
        "ubl.unsubscore.com": Death("does not answer any more", "2024"),
        "virbl.bit.nl": Death(_CLOSED, "2017-01"),
        "virbl.dnsbl.bit.nl": Death(_CLOSED, "2017-01"),
        "wormrbl.imp.ch": Death("is gone", "2021"),
    }
)


def death_of(zone: str) -> Death | None:
    """What became of a zone (in any case, with or without a dot at its end); None for one not known to be dead."""
    labels = zone.lower().removesuffix(".").split(".")
    for n in range(len(labels)):
        found = DEAD.get(".".join(labels[n:]))
        if found is not None:
            return found
    return None
