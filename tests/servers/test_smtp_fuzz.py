"""Any octets in any order: each gets well-formed answers, and no session ends by a bug."""

from __future__ import annotations

import asyncio
import contextlib
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers.proxy import proxy

REPLY = re.compile(rb"[2-5][0-9][0-9][ -][\x20-\x7e]*\r\n")
WORDS = [
    b"EHLO x\r\n",
    b"HELO\r\n",
    b"MAIL FROM:<>\r\n",
    b"MAIL FROM:<a@example.net> SIZE=10\r\n",
    b"RCPT TO:<one@example.org>\r\n",
    b"RCPT TO:<no@example.org>\r\n",
    b"RCPT TO:<>\r\n",
    b"DATA\r\n",
    b"Subject: x\r\n\r\ntext\r\n",
    b".\r\n",
    b"\n.\n",
    b"RSET\r\n",
    b"VRFY x\r\n",
    b"XCLIENT ADDR=192.0.2.1 HELO=x\r\n",
    b"XFORWARD ADDR=192.0.2.2\r\n",
    b"XFORWARD\r\n",
    b"QUIT\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b"x" * 3000,
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=30)), max_size=25), st.booleans())
def test_any_conversation_is_answered_in_order_and_ends(pieces, at_once):
    async def converse() -> bytes:
        async with (
            proxy(trust=("127.0.0.1/32",), errors=1000, command_timeout=20.0) as p,
            p.client(greet=False) as client,
        ):
            p.hop.recipients["no@example.org"] = "550 5.1.1 no"
            for piece in pieces:
                client.send(piece)
                if not at_once:
                    await asyncio.sleep(0)
            said = b""
            with contextlib.suppress(OSError):
                client.half_close()
            with contextlib.suppress(ConnectionError):  # what is sent after QUIT is answered by a reset
                async with asyncio.timeout(20):
                    while piece := await client.reader.read(1 << 16):
                        said += piece
            await p.gate.until("left")
            for message in p.hop.messages:
                assert message.data.count(b"\n") == message.data.count(b"\r\n") == message.data.count(b"\r")
            return said

    said = asyncio.run(converse())
    assert said.startswith(b"220 ") or not said
    assert b"4.3.0" not in said
    assert REPLY.sub(b"", said) == b""
