from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.complaints.dmarc_destinations import Destination, Standing, destinations, mailbox
from gatekeeper.dns.resolver import Status
from gatekeeper.mailauth.dmarc_record import ReportUri
from tests.support.fake_resolver import FakeResolver

OWN = {("_dmarc.example.com", "TXT"): [b"v=DMARC1; p=none"]}
LEAVE = ("example.com._report._dmarc.reports.test", "TXT")


async def where(zone: dict[tuple[str, str], Any], *uris: str, most: int = 5) -> list[tuple[str, Standing]]:
    found = await destinations(FakeResolver(OWN | zone), "example.com", [ReportUri(uri) for uri in uris], most=most)
    return [(one.address, one.standing) for one in found]


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("mailto:dmarc@example.com", "dmarc@example.com"),
        ("MAILTO:Dmarc+x@EXAMPLE.com.", "Dmarc+x@example.com"),
        ("mailto:Dmarc+x@EXAMPLE.com", "Dmarc+x@example.com"),
        ("mailto:a%2Cb%21c@example.com", "a,b!c@example.com"),
        ("mailto:a%2Bb@example.com?subject=x", "a+b@example.com"),
        ("https://example.com/dmarc", None),
        ("mailto:", None),
        ("mailto:nobody", None),
        ("mailto://a@example.com", None),
        ("mailto:a@example.com%0D%0ABcc:b@example.com", None),
        ("mailto:a@example.com,b@example.com", None),
        ("mailto:a@[192.0.2.1]", None),
        ("mailto:@route.test:a@example.com", None),
        ("mailto:j%C3%BCrgen@example.com", None),
        ("mailto:%FF@example.com", None),
        ("mailto:postmaster", None),
    ],
)
def test_a_mailto_is_one_plain_address(uri: str, address: str | None) -> None:
    if address is not None and "," in address:
        address = None  # such a local part would have to be quoted
    assert mailbox(uri) == address


@given(st.text())
def test_no_uri_makes_more_than_one_line(text: str) -> None:
    for uri in (text, f"mailto:{text}", f"mailto:{text}@example.com"):
        address = mailbox(uri)
        assert address is None or (address.isascii() and address.isprintable() and " " not in address.partition("@")[0])


async def test_the_own_organisation_needs_no_leave() -> None:
    assert await where({}, "mailto:a@example.com", "mailto:b@mail.example.com") == [
        ("a@example.com", Standing.OURS), ("b@mail.example.com", Standing.OURS),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([b"v=DMARC1"], [("a@reports.test", Standing.CONFIRMED)]),
        ([b"v=DMARC1;"], [("a@reports.test", Standing.CONFIRMED)]),
        ([b"something", b"v=DMARC1; x=y"], [("a@reports.test", Standing.CONFIRMED)]),
        ([b"v=DMARC1; rua=mailto:b@reports.test"], [("b@reports.test", Standing.CONFIRMED)]),
        ([b"v=DMARC1; rua=mailto:b@other.test"], [("a@reports.test", Standing.UNCONFIRMED)]),
        ([b"v=DMARC1; rua=mailto:b@reports.test,mailto:c@other.test"], [("a@reports.test", Standing.UNCONFIRMED)]),
        ([b"v=DMARC1; rua=https://reports.test/"], [("a@reports.test", Standing.UNCONFIRMED)]),
        ([b"v=spf1 -all"], [("a@reports.test", Standing.UNCONFIRMED)]),
        ([], [("a@reports.test", Standing.UNCONFIRMED)]),
        (Status.TIMEOUT, [("a@reports.test", Standing.UNKNOWN)]),
        (Status.REFUSED, [("a@reports.test", Standing.UNKNOWN)]),
    ],
)
async def test_others_are_sent_only_what_they_want(answer: Any, expected: list[tuple[str, Standing]]) -> None:
    assert await where({LEAVE: answer}, "mailto:a@reports.test") == expected


async def test_a_name_too_long_to_be_asked_for_is_no_leave() -> None:
    host = ".".join(["x" * 60] * 4)
    assert await where({}, f"mailto:a@{host}") == [(f"a@{host}", Standing.UNCONFIRMED)]


async def test_whose_organisation_it_is_may_be_unknown() -> None:
    assert await where({("_dmarc.reports.test", "TXT"): Status.TIMEOUT}, "mailto:a@reports.test") == [
        ("a@reports.test", Standing.UNKNOWN)
    ]


async def test_each_address_once_and_not_too_many() -> None:
    uris = [
        "mailto:A@example.com",
        "mailto:a@example.com",
        "https://x.test",
        *(f"mailto:{n}@example.com" for n in range(9)),
    ]
    assert [address for address, _ in await where({}, *uris, most=3)] == [
        "A@example.com",
        "0@example.com",
        "1@example.com",
    ]


async def test_a_limit_stays_with_its_address() -> None:
    resolver = FakeResolver(OWN | {LEAVE: [b"v=DMARC1; rua=mailto:b@reports.test!5k"]})
    uris = [ReportUri("mailto:a@example.com", 1024), ReportUri("mailto:a@reports.test", 99)]
    assert await destinations(resolver, "example.com", uris, most=3) == [
        Destination("a@example.com", 1024, Standing.OURS),
        Destination("b@reports.test", 5120, Standing.CONFIRMED),
    ]
