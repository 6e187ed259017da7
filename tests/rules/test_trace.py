"""Where a message says it has been."""

import pytest

from gatekeeper.rules.trace import MOST, trace_facts
from gatekeeper.wire.headers import parse_header

DATE = "Mon, 2 Nov 2026 10:00:00 +0000"


def facts(*lines: str, home: str = "shop.net") -> dict[str, int]:
    found: dict[str, int] = {}
    header = parse_header("".join(f"{line}\r\n" for line in lines).encode())
    trace_facts(header, home, "mx.example.org", frozenset({"example.org"}), found)
    return {name: number for name, number in found.items() if number and name != "received"}


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([f"Received: from a ([192.0.2.255]) by b.net; {DATE}"], {}),
        ([f"Received: from a ([192.0.2.256]) by b.net; {DATE}"], {"received_forged": 1}),
        ([f"Received: from a ([300.1.1.1]) by b.net; {DATE}"], {"received_forged": 1}),
        ([f"Received: from a (8.11.6.2002) by b.net; {DATE}"], {}),  # a version
        (["Received: from a by b.net; soon"], {"received_forged": 1}),
        (["Received: from a by b.net; 24/07/2002 11:34:18"], {}),
        (
            [f"Received: by b.net; {DATE}", "Received: by c.net; Fri, 6 Nov 2026 10:00:00 +0000"],
            {"received_backwards": 1},
        ),
        ([f"Received: by mx.example.org. with SMTP; {DATE}"], {"received_ours": 1}),
        (["Message-ID: <1@shop.net>"], {}),
        (["Message-ID: 1"], {"message_id_malformed": 1}),
        (["Message-ID: <1@localhost>"], {"message_id_local": 1}),
        (["Message-ID: <1@mail.example.org>"], {"message_id_ours": 1}),
        (["Message-ID: <1@mail.gmail.com>", f"Received: by b.net; {DATE}"], {"message_id_free": 1}),
        (["Message-ID: <1@mail.gmail.com>", f"Received: from a.google.com by b.net; {DATE}"], {}),
        (["Message-ID: <1@mail.gmail.com>", "List-Id: <x.net>", f"Received: by b.net; {DATE}"], {}),
    ],
)
def test_what_cannot_be_so_is_told(lines, found):
    assert facts(*lines) == found


def test_our_own_message_id_is_our_own_authors_right():
    assert facts("Message-ID: <1@example.org>", home="example.org") == {}


def test_only_the_newest_fields_are_looked_at():
    assert facts(*[f"Received: from a ([300.1.1.1]) by b.net; {DATE}"] * 100) == {"received_forged": MOST}
