"""Any packets in any order: each session ends as it should, none of them by a bug, and nothing is left of it."""

from __future__ import annotations

import asyncio
import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatekeeper.model import Action, Stage
from tests.servers.milter import milter
from tests.support.milter_client import OLD, POSTFIX, client, packet, words

PACKETS = [
    packet("C", client()),
    packet("C", client("127.0.0.1")),
    packet("C", words("h") + b"U"),
    packet("D", b"M" + words("{auth_authen}", "ann")),
    packet("D", b"R" + words("{rcpt_mailer}", "error", "{rcpt_host}", "5.1.1")),
    packet("D", b"E" + words("i", "4XfAkE")),
    packet("D", b"L"),
    packet("H", words("x.example")),
    packet("M", words("<s@example.net>", "SIZE=10")),
    packet("M", words("nobody")),
    packet("R", words("<one@example.org>")),
    packet("R", words("<bad@example.org>")),
    packet("T"),
    packet("L", words("Subject", " x\ny")),
    packet("N"),
    packet("B", b"text\r"),
    packet("B", b"\n" * 1000),
    packet("E"),
    packet("A"),
    packet("U", words("VRFY x")),
    packet("K"),
    packet("Q"),
]
IN_ORDER = [packet("C", client()), packet("H", words("x")), packet("M", words("<s@example.net>"))]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([POSTFIX, OLD]),
    st.sampled_from([0, 1, 3]),
    st.lists(st.one_of(st.sampled_from(PACKETS), st.binary(max_size=20)), max_size=25),
    st.booleans(),
)
def test_any_packets_in_any_order_leave_nothing_behind(offer, begun, pieces, at_once):
    async def converse() -> None:
        async with milter() as m, m.client(offer=offer) as mta:
            m.gate.say(Stage.RCPT, Action.REJECT, to="bad@example.org")
            for piece in [*IN_ORDER[:begun], *pieces]:
                mta.write(piece)
                if not at_once:
                    await asyncio.sleep(0)
            with contextlib.suppress(OSError):
                mta.writer.write_eof()
            with contextlib.suppress(ConnectionError):  # what is sent after a protocol error is answered by a reset
                async with asyncio.timeout(20):
                    while await mta.reader.read(1 << 16):
                        pass
            for message in m.gate.messages:
                assert message.count(b"\n") == message.count(b"\r\n")

    asyncio.run(converse())
