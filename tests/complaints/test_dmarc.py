from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.complaints.dmarc import Published, Row, Settings, Signature, before, begin_of, day_of, key_of
from gatekeeper.mailauth.dmarc_record import ReportUri, record_of

EMAIL = "dmarc-reports@example.org"
TEXTS = st.text(max_size=30)
ROWS = st.builds(
    Row,
    address=TEXTS,
    disposition=TEXTS,
    dkim=st.booleans(),
    spf=st.booleans(),
    author=TEXTS,
    sender=st.none() | TEXTS,
    signatures=st.lists(st.builds(Signature, TEXTS, TEXTS, TEXTS), max_size=3).map(tuple),
    spf_domain=TEXTS,
    spf_result=TEXTS,
    reasons=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
)


@given(ROWS)
def test_a_row_is_read_as_it_was_written(row: Row) -> None:
    assert Row.of(row.text()) == row


@given(st.text())
def test_what_is_no_row_and_no_policy_is_a_value_error(text: str) -> None:
    for read in (Row.of, Published.of):
        try:
            read(text)
        except ValueError:
            continue


def test_a_policy_is_read_as_it_was_written() -> None:
    record = record_of([b"v=DMARC1; p=reject; sp=none; adkim=s; t=y; fo=1:d; rua=mailto:a@b.test!10m; aspf=x"])
    assert record is not None
    published = Published.by(record)
    assert Published.of(published.text()) == published
    assert published == Published(
        "reject", "none", "none", "s", "r", True, "1:d", (ReportUri("mailto:a@b.test", 10 * 2**20),), ("aspf",)
    )


def test_days_are_utc() -> None:
    assert day_of(1_795_737_599.9) == "2026-11-26"
    assert day_of(1_795_737_600.0) == "2026-11-27"
    assert begin_of("2026-11-27") == 1_795_737_600
    assert before("2026-03-01") == "2026-02-28"
    assert key_of("2026-11-27", "example.com") == "2026-11-27 example.com"
    with pytest.raises(ValueError, match="isoformat"):
        begin_of("yesterday")


def test_nothing_is_reported_until_somebody_is_named() -> None:
    assert Settings().email == ""
    assert Settings(email="Reports@Mx.Example.org").submitter == "mx.example.org"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a@[192.0.2.1]"}, "email"),
        ({"email": "jürgen@example.org"}, "email"),
        ({"relay": "lmtp://127.0.0.1:24"}, "relay"),
        ({"relay": "127.0.0.1"}, "write"),
        ({"exempt": ("not a domain",)}, "exempt"),
        ({"keep": 3600.0}, "keep"),
        ({"write_every": 0.0}, "write_every"),
        ({"rows": 0}, "rows"),
        ({"destinations": 11}, "destinations"),
        ({"pause": -1.0}, "pause"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Settings(**{"email": EMAIL} | changes)
