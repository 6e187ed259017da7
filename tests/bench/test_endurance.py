"""The steady pace."""

from __future__ import annotations

import asyncio

import pytest

from bench import endurance
from gatekeeper.bench.letters import Letter

LETTER = Letter("198.18.0.1", "c.bench.example", "sender@d1.bench.example", b".\r\n")


@pytest.mark.parametrize("error", [ConnectionResetError, EOFError, TimeoutError])
def test_a_message_that_fails_is_counted_and_ends_no_other(error: type[Exception]):
    calls = iter(range(3))

    async def talk(_letter: Letter) -> str:
        if next(calls) == 1:
            raise error
        return ""

    outcome = asyncio.run(endurance._paced([LETTER] * 3, talk, pace=1e9))
    assert outcome.failures == {error.__name__: 1}
    assert len(outcome.latencies) == 3
