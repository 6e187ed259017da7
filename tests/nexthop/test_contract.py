from __future__ import annotations

import pytest

from gatekeeper.model import Reply
from gatekeeper.nexthop import Capabilities


@pytest.mark.parametrize(
    ("lines", "keywords"),
    [
        (("mx.example",), {}),
        (("SIZE 5 is my name", "pipelining"), {"PIPELINING": ""}),
        (("mx", "SIZE 10240000", "Auth  PLAIN LOGIN "), {"SIZE": "10240000", "AUTH": "PLAIN LOGIN"}),
        (("mx", "SIZE 1", "SIZE 2", "", " DSN"), {"SIZE": "1", "": "", "DSN": ""}),
        ((), {}),
    ],
)
def test_capabilities_are_all_lines_but_the_first(lines: tuple[str, ...], keywords: dict[str, str]):
    assert Capabilities.of(Reply(250, lines)) == Capabilities(keywords)


def test_only_what_was_said_is_offered():
    capabilities = Capabilities({"SIZE": ""})
    assert capabilities.offers("SIZE")
    assert not capabilities.offers("DSN")
