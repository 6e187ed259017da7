"""One mail to two recipients, cut off at every octet, on either side: no loss, and nothing twice that nobody counted.

What must hold after every cut: whoever read a 250 for the message can rely on exactly one copy; whoever did not may
find one copy only where `gatekeeper_relay_in_doubt_total` counts it (RFC 1047).
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Literal

import pytest

from gatekeeper import metrics, nexthop
from tests.servers.proxy import Proxy, proxy
from tests.support.cut_wire import Cut, FarNextHop, Way
from tests.support.next_hop import Delivered
from tests.support.smtp_client import SmtpClient

pytestmark = pytest.mark.slow

TEXT = b"Subject: x\r\n\r\n.dots\r\n\r\n"
ONE, TWO = "one@example.org", "two@example.org"


def conversation(name: str) -> list[bytes]:
    """What the client says, each part after the answer to the one before; the one before the last is the message."""
    return [
        b"EHLO client.example.net\r\n",
        f"MAIL FROM:<{name}@example.net>\r\n".encode(),
        f"RCPT TO:<{ONE}>\r\n".encode(),
        f"RCPT TO:<{TWO}>\r\n".encode(),
        b"DATA\r\n",
        b"Subject: x\r\n\r\n..dots\r\n\r\n.\r\n",
        b"QUIT\r\n",
    ]


RECIPIENTS = {2: ONE, 3: TWO}
MESSAGE = 5
LENGTH = sum(map(len, conversation("m0000")))


def in_doubt() -> float:
    name = "gatekeeper_relay_in_doubt_total"
    return sum(metrics.REGISTRY.get_sample_value(name, {"side": side}) or 0.0 for side in ("client", "next_hop"))


@dataclass(slots=True)
class Ledger:
    """What one mail came to."""

    accepted: list[str]  # the recipients whose 250 the client read
    promised: bool  # the client read a 250 for its message
    copies: list[Delivered]
    counted: float

    def holds(self) -> bool:
        whole = all(copy.data.endswith(TEXT) and copy.recipients == self.accepted for copy in self.copies)
        if self.promised:
            return whole and len(self.copies) == 1
        return whole and len(self.copies) <= min(1, self.counted)


def copies(p: Proxy, name: str) -> list[Delivered]:
    return [mail for mail in p.hop.messages if mail.sender == f"{name}@example.net"]


# --- the client ------------------------------------------------------------------------------------------------------

How = Literal["half", "close", "reset"]


async def speak(client: SmtpClient, name: str, octets: int) -> tuple[list[str], bool]:
    """Say the first `octets` of the conversation, part by part; who was accepted, and whether the message was."""
    accepted, promised = [], False
    for n, part in enumerate(conversation(name)):
        client.send(part[:octets])
        octets -= len(part)
        if octets < 0:
            break
        said = await client.reply()
        if said[:3] == "250" and n in RECIPIENTS:
            accepted.append(RECIPIENTS[n])
        promised |= n == MESSAGE and said[:3] == "250"
    return accepted, promised


async def leave(client: SmtpClient, how: How) -> bool:
    """End the connection; whether a client that still listens reads a 250 for its message."""
    if how == "reset":
        client.reset()
    elif how == "close":
        client.writer.close()
    else:
        client.half_close()
        return "queued as" in (await client.reader.read()).decode()
    return False


@pytest.mark.parametrize("how", ["half", "close", "reset"])
async def test_a_client_that_is_cut_off_after_any_octet_it_sends(how: How) -> None:
    async with proxy(connections_per_address=1000) as p:
        for octets in range(LENGTH + 1):
            name, before = f"m{octets:04}", in_doubt()
            async with p.client() as client:
                accepted, promised = await speak(client, name, octets)
                promised |= await leave(client, how)
            await p.gate.until("left", octets + 1)
            ledger = Ledger(accepted, promised, copies(p, name), in_doubt() - before)
            assert ledger.holds(), (octets, ledger)
        assert len(p.hop.messages) >= LENGTH - sum(map(len, conversation("m0000")[: MESSAGE + 1]))


async def test_a_client_that_is_cut_off_after_any_octet_of_the_answer_to_its_message() -> None:
    """What it has not read by then the system throws away, and tells us: a reset."""
    answer = b"250 2.0.0 Ok: queued as 4XfAkE\r\n"
    loop = asyncio.get_running_loop()
    async with proxy(connections_per_address=1000) as p:
        for octets in range(len(answer) + 1):
            name, before = f"m{octets:04}", in_doubt()
            with socket.socket() as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, ("127.0.0.1", int(p.port)))
                for part in [b"", *conversation(name)[:MESSAGE]]:
                    await loop.sock_sendall(sock, part)
                    assert (await loop.sock_recv(sock, 4096)).endswith(b"\r\n")
                await loop.sock_sendall(sock, conversation(name)[MESSAGE])
                read = b""
                while len(read) < octets:
                    read += await loop.sock_recv(sock, octets - len(read))
                assert answer.startswith(read)
                await p.hop.saw(".", times=octets + 1)
                [session] = p.server._sessions
                while session._acknowledged != session.conversation.heard:  # noqa: ASYNC110 - the server sets no event
                    await asyncio.sleep(0)
            await p.gate.until("left", octets + 1)
            ledger = Ledger([ONE, TWO], read == answer, copies(p, name), in_doubt() - before)
            assert ledger.holds(), (octets, ledger)


async def test_a_client_that_leaves_while_the_answer_is_on_its_way_to_it() -> None:
    """Its end of the connection and our 250 cross on the wire; the system knows that it never came."""
    async with proxy() as p, p.client() as client:
        before = in_doubt()
        p.hop.hold(".")
        for part in conversation("cross")[:MESSAGE]:
            client.send(part)
            await client.reply()
        client.send(conversation("cross")[MESSAGE])
        await p.hop.saw(".")
        [session] = p.server._sessions
        assert session.transport is not None
        session.transport.pause_reading()  # the wire is long
        client.writer.close()
        await client.writer.wait_closed()
        p.hop.go(".")
        await p.gate.until("finished")
        session.transport.resume_reading()
        await p.gate.until("left")
        assert Ledger([ONE, TWO], False, copies(p, "cross"), in_doubt() - before).holds()
    assert len(p.hop.messages) == 1


async def test_a_client_that_says_quit_at_once_and_closes_reads_nothing_any_more() -> None:
    """Only half closed it would be served, and looks the same until our answer comes back to us."""
    async with proxy() as p, p.client() as client:
        before = in_doubt()
        p.hop.hold(".")
        for part in conversation("hasty")[:MESSAGE]:
            client.send(part)
            await client.reply()
        client.send(b"".join(conversation("hasty")[MESSAGE:]))
        await p.hop.saw(".")
        client.writer.close()
        await client.writer.wait_closed()
        [session] = p.server._sessions
        while not session.conversation.ended:  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0)
        p.hop.go(".")
        await p.gate.until("left")
        assert Ledger([ONE, TWO], False, copies(p, "hasty"), in_doubt() - before).holds()
    assert len(p.hop.messages) == 1


async def test_a_client_that_leaves_without_a_word_after_its_answer_is_not_in_doubt() -> None:
    async with proxy() as p:
        before = in_doubt()
        async with p.client() as client:
            for part in conversation("rude")[: MESSAGE + 1]:
                client.send(part)
                await client.reply()
        await p.gate.until("left")
        assert in_doubt() == before


# --- the next hop ----------------------------------------------------------------------------------------------------


async def send(p: Proxy, name: str) -> tuple[list[str], bool]:
    async with p.client() as client:
        return await speak(client, name, LENGTH)


@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("way", ["from_us", "to_us"])
@pytest.mark.parametrize("how", ["half", "reset"])
def test_a_next_hop_that_is_cut_off_after_any_octet(how: How, way: Way, used: bool) -> None:
    """A new connection from its greeting on, XCLIENT and all; a used one from its second mail on."""
    asyncio.run(cut_everywhere(how, way, used=used))  # one loop: these are a thousand sessions


async def cut_everywhere(how: How, way: Way, *, used: bool) -> None:
    hop = FarNextHop(capabilities={"PIPELINING": ""} | ({} if used else {"XCLIENT": "NAME ADDR"}))
    octets = lost = 0
    async with proxy(hop=hop) as p:
        while hop.cut is None:  # until the cut is further away than the conversation is long
            await settled(p, hop)
            if used:
                assert (await send(p, f"u{octets:04}"))[1]
            hop.arm(Cut(way, octets, how))
            name, before = f"m{octets:04}", in_doubt()
            accepted, promised = await send(p, name)
            await settled(p, hop)
            ledger = Ledger(accepted, promised, copies(p, name), in_doubt() - before)
            assert ledger.holds(), (octets, ledger)
            lost += not promised
            octets += 1
    assert octets > 100
    assert 0 < lost < octets


HURRIED = nexthop.Settings(connect=0.05, greeting=0.05, command=0.05, progress=0.05, final=0.05)
"""Waits that are over soon: a wire that stalls is found out by nothing else."""


@pytest.mark.parametrize("way", ["from_us", "to_us"])
@pytest.mark.parametrize("how", ["garble", "stall"])
def test_a_next_hop_whose_wire_garbles_or_swallows_any_octet(how: Literal["garble", "stall"], way: Way) -> None:
    """What it then has may be another sender's, or another text: counted are copies, whatever they look like."""
    asyncio.run(spoil_everywhere(how, way))


async def spoil_everywhere(how: Literal["garble", "stall"], way: Way) -> None:
    hop = FarNextHop(capabilities={"PIPELINING": "", "XCLIENT": "NAME ADDR"})
    octets = lost = 0
    async with proxy(hop=hop, hop_settings=HURRIED) as p:
        while hop.cut is None:
            await settled(p, hop)
            hop.arm(Cut(way, octets, how))
            before, there = in_doubt(), len(hop.messages)
            _, promised = await send(p, f"m{octets:04}")
            await settled(p, hop)
            found, counted = len(hop.messages) - there, in_doubt() - before
            assert found == 1 if promised else found <= min(1, counted), (octets, promised, found, counted)
            lost += not promised
            octets += 1
    assert octets > 100
    assert 0 < lost < octets


async def settled(p: Proxy, hop: FarNextHop) -> None:
    await p.client_of_hop.close()
    await hop.quiet()
