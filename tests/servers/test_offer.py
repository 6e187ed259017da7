from __future__ import annotations

import pytest

from gatekeeper.nexthop import Capabilities
from gatekeeper.servers.offer import Offer


@pytest.mark.parametrize(
    ("theirs", "size"),
    [("500", 500), ("0", 1000), ("", 1000), ("5000", 1000), ("x", 1000), ("-1", 1000), ("9" * 30, 1000), ("²", 1000)],
)
def test_the_smaller_size_counts(theirs, size):
    offer = Offer.of(Capabilities({"SIZE": theirs}), hostname="h", size=1000, recipients=1)
    assert offer.size == size
    assert (
        offer.to_all
        == b"250-h\r\n250-PIPELINING\r\n250-SIZE %d\r\n250-ENHANCEDSTATUSCODES\r\n250 LIMITS RCPTMAX=1\r\n" % size
    )


def test_xclient_is_offered_to_trusted_peers_only():
    offer = Offer.of(None, hostname="h", size=1000, recipients=1)
    assert b"XCLIENT" not in offer.to_all
    assert b"XCLIENT" in offer.to_trusted
    assert offer.extensions == {"SIZE", "8BITMIME", "SMTPUTF8", "DSN"}


def test_starttls_is_offered_while_it_can_be_had():
    offer = Offer.of(None, hostname="h", size=1000, recipients=1)
    for trusted in (False, True):
        assert b"STARTTLS" not in offer.answer(trusted=trusted, starttls=False)
        assert (b"XCLIENT" in offer.answer(trusted=trusted, starttls=False)) == trusted
        with_it = offer.answer(trusted=trusted, starttls=True)
        assert b"-STARTTLS\r\n" in with_it or b" STARTTLS\r\n" in with_it
        assert (b"XCLIENT" in with_it) == trusted
