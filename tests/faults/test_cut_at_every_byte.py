"""One mail to two recipients, cut off at every octet, on either side: no loss, and nothing twice that nobody counted.

What must hold after every cut: whoever read a 250 for the message can rely on exactly one copy; whoever did not may
find one copy only where `gatekeeper_relay_in_doubt_total` counts it (RFC 1047).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from gatekeeper import metrics, nexthop
from gatekeeper.servers.conversation import ClientSilent
from tests.servers.proxy import Proxy, proxy
from tests.support.cut_wire import Cut, FarNextHop, Way
from tests.support.next_hop import Delivered
from tests.support.silent_wire import silent_after
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

How = Literal["half", "close", "reset", "stall"]
HASTY: dict[str, Any] = {"command_timeout": 0.05, "line_timeout": 0.05, "data_timeout": 0.05}
"""A client that is silent is found out by nothing else."""


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
    """End the connection, or let it be ended; whether a client that still listens reads a 250 for its message."""
    if how == "reset":
        client.reset()
    elif how == "close":
        client.writer.close()
    else:
        if how == "half":
            client.half_close()
        with contextlib.suppress(ConnectionError):
            return "queued as" in (await client.reader.read()).decode()
    return False


@pytest.mark.parametrize("how", ["half", "close", "reset", "stall"])
async def test_a_client_that_is_cut_off_after_any_octet_it_sends(how: How) -> None:
    async with proxy(connections_per_address=1000, **(HASTY if how == "stall" else {})) as p:
        for octets in range(LENGTH + 1):
            name, before = f"m{octets:04}", in_doubt()
            async with p.client() as client:
                accepted, promised = await speak(client, name, octets)
                promised |= await leave(client, how)
            await p.gate.until("left", octets + 1)
            ledger = Ledger(accepted, promised, copies(p, name), in_doubt() - before)
            assert ledger.holds(), (octets, ledger)
        whole = LENGTH - sum(map(len, conversation("m0000")[: MESSAGE + 1]))
        assert len(p.hop.messages) >= (1 if how == "stall" else whole)  # its deadlines may be over on a busy machine


async def test_a_client_whose_wire_garbles_any_octet_it_sends() -> None:
    """The message may be another then: counted are copies, whatever they look like."""
    lost = 0
    async with proxy(connections_per_address=1000, **HASTY) as p:
        for octets in range(LENGTH):
            before, there = in_doubt(), len(p.hop.messages)
            async with p.client() as client:
                promised = await speak_garbled(client, f"m{octets:04}", octets)
            await p.gate.until("left", octets + 1)
            found, counted = len(p.hop.messages) - there, in_doubt() - before
            assert found == 1 if promised else found <= min(1, counted), (octets, promised, found, counted)
            lost += not promised
    assert 0 < lost < LENGTH


async def speak_garbled(client: SmtpClient, name: str, place: int) -> bool:
    """All of the conversation, up to a refusal, with another octet at that place; whether the message was accepted.

    Where the end of a line or of the message is garbled there is no answer but that it took too long.
    """
    promised = False
    for n, part in enumerate(conversation(name)):
        here = 0 <= place < len(part)
        client.send(part[:place] + bytes([part[place] ^ 0x80]) + part[place + 1 :] if here else part)
        place -= len(part)
        said = await client.reply()
        promised |= n == MESSAGE and said[:3] == "250"
        if said[:1] not in {"2", "3"} and n not in RECIPIENTS:
            break
    return promised


@pytest.mark.parametrize("how", ["half", "close", "reset", "stall"])
async def test_a_client_that_is_cut_off_after_any_octet_of_our_answers(how: How) -> None:
    """From the greeting to the answer to QUIT.

    What it has not read by then the system throws away, and tells us: a reset. With "stall" the wire is silent from
    there, and the system confirms no more.
    """
    sessions = 0
    async with proxy(connections_per_address=1000) as p:
        answers = await all_answers(p)
        await p.gate.until("left")
        for part, answer in enumerate(answers):
            for octets in range(len(answer) + 1):
                sessions += 1
                name, before = f"m{sessions:04}", in_doubt()
                with socket.socket() as sock:
                    await listen(p, sock, name, answers[:part], answer[:octets], answer if how == "stall" else b"")
                    read = answer[:octets] + await stop_listening(p, sock, name, how, part=part, left=sessions + 1)
                promised = part > MESSAGE + 1 or (part == MESSAGE + 1 and read.startswith(answer))
                await p.gate.until("left", sessions + 1)
                accepted = [to for n, to in RECIPIENTS.items() if n + 1 < part]
                ledger = Ledger(accepted, promised, copies(p, name), in_doubt() - before)
                assert ledger.holds(), (part, octets, ledger)
    assert len(answers[MESSAGE + 1]) > 20
    assert len(p.hop.messages) == 1 + len(answers[-1]) + 1 + len(answers[-2]) + 1


async def all_answers(p: Proxy) -> list[bytes]:
    """The greeting, and the answer to each part of the conversation."""
    loop = asyncio.get_running_loop()
    answers = []
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", int(p.port)))
        for part in [b"", *conversation("m0000")]:
            await loop.sock_sendall(sock, part)
            answers.append(await loop.sock_recv(sock, 4096))
            assert answers[-1].endswith(b"\r\n")
    return answers


async def listen(
    p: Proxy, sock: socket.socket, name: str, whole: list[bytes], begun: bytes, swallowed: bytes = b""
) -> None:
    """Go on in the conversation until those answers are read, and so much of the next, which is there in full.

    Of the `swallowed` one nothing else arrives, nor what comes after it.
    """
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    says = [b"", *conversation(name)]
    for n, wanted in enumerate([*whole, begun]):
        if swallowed and n == len(whole):
            silent_after(sock, swallowed, len(begun))
        if n == 0:
            await loop.sock_connect(sock, ("127.0.0.1", int(p.port)))
        await loop.sock_sendall(sock, says[n])
        if wanted or not swallowed:
            await readable(sock)
        read = b""
        while len(read) < len(wanted) and (more := await loop.sock_recv(sock, len(wanted) - len(read))):
            read += more
        assert read == wanted


async def readable(sock: socket.socket) -> None:
    """Until there is something to read: all of an answer, for it is sent in one packet."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(sock, there.set)
    await there.wait()
    loop.remove_reader(sock)


async def stop_listening(p: Proxy, sock: socket.socket, name: str, how: How, *, part: int, left: int) -> bytes:
    """What a client that only has nothing more to say still reads."""
    rest = b""
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    elif how == "half":
        with contextlib.suppress(OSError):  # after QUIT the other side is closed too
            sock.shutdown(socket.SHUT_WR)
        while more := await asyncio.get_running_loop().sock_recv(sock, 4096):
            rest += more
    elif how == "stall":
        await time_passes(p, sum(map(len, conversation(name)[:part])), left)
    return rest


async def time_passes(p: Proxy, heard: int, left: int) -> None:
    """Each of our deadlines is over, from the moment that a session has heard so much and waits for more, to its end.

    Without waiting for them: a busy machine would have them over earlier, and answers would be others.
    """
    while not p.server._sessions and len(p.gate.left) < left:  # noqa: ASYNC110 - the server sets no event
        await asyncio.sleep(0)
    for session in list(p.server._sessions):
        while len(p.gate.left) < left:
            waiter = session.conversation._waiter
            if session.conversation.heard == heard and waiter is not None and not waiter.done():
                waiter.set_exception(ClientSilent())
            await asyncio.sleep(0)


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
