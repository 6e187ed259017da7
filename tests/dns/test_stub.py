import asyncio
import socket
from collections.abc import Callable
from typing import Any

import dns.message
import pytest

from gatekeeper.dns import stub as module
from gatekeeper.dns.answer import Answer, Status
from gatekeeper.dns.stub import CLOSED, LATE, MOST_STRANGE, ODD, PORT_KEPT, PORT_KEPT_FOR, Stub, Unanswered
from tests.support.dns_server import DnsServer, Fault

SOON = 0.05
FOUND = Answer(Status.OK, ("192.0.2.1",), 300.0)


class Stranger(asyncio.DatagramProtocol):
    """A nameserver that says what a test hands it: `reply` makes packets of a question's."""

    def __init__(self, reply: Callable[[bytes], list[bytes]]) -> None:
        self.reply = reply
        self.packets: list[bytes] = []
        self.peers: list[tuple[str, int]] = []
        self.came = asyncio.Event()

    async def __aenter__(self):
        self.transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self.port = self.transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_):
        self.transport.close()

    def datagram_received(self, data, addr):
        self.packets.append(data)
        self.peers.append(addr)
        self.came.set()
        for packet in self.reply(data):
            self.transport.sendto(packet, addr)


def right(packet: bytes) -> bytes:
    """An answer with one address."""
    asked = packet[12:-11]
    return packet[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked + b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\1"


def about(packet: bytes, name: bytes) -> bytes:
    """The same answer to a question about another name, as long."""
    return packet[:2] + right(packet)[2:].lower().replace(b"\4name", b"\4" + name)


def asked(stub: Stub, name: str = "name.test", rtype: str = "A") -> Any:
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    assert stub.ask(name, rtype, told.set_result)
    assert not told.done()
    return told


@pytest.fixture
async def stub_for():
    made = []

    def make(server, wait: float = 5.0) -> Stub:
        made.append(Stub("127.0.0.1", server if isinstance(server, int) else server.port, wait=wait))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert not each._waiting
        assert each._timer is None


async def test_many_questions_at_once_each_have_their_own_answer(stub_for):
    zone = {(f"n{number}.test", "A"): [f"192.0.2.{number}"] for number in range(200)}
    async with DnsServer(zone) as server:
        stub = stub_for(server, 30.0)
        told = [asked(stub, name) for name, _ in zone]
        assert [(await each).records for each in told] == [tuple(records) for records in zone.values()]
        assert len({each.id for each in server.asked}) > 190


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        (Fault.SERVFAIL, Answer(Status.REFUSED)),
        (Fault.REFUSED, Answer(Status.REFUSED)),
        (Fault.WRONG_OWNER, Answer(Status.NONSENSE)),
        (Fault.GARBAGE, ODD),
        (Fault.TRUNCATED, ODD),
        (Fault.SILENCE, LATE),
        (Fault.WRONG_ID, LATE),
        (Fault.WRONG_QUESTION, LATE),
    ],
)
async def test_each_fault_ends_in_its_own_way(stub_for, fault, how):
    async with DnsServer({("name.test", "A"): fault}) as server:
        assert await asked(stub_for(server, SOON)) == how


async def test_a_forged_answer_before_the_right_one_is_not_taken(stub_for):
    def reply(packet: bytes) -> list[bytes]:
        wrong_id = bytes((packet[0] ^ 1, packet[1])) + right(packet)[2:]
        no_answer = packet[:2] + b"\1\0" + right(packet)[4:]
        return [wrong_id, about(packet, b"evil"), right(packet)] if packet not in no_answer else []

    async with Stranger(reply) as server:
        assert await asked(stub_for(server)) == FOUND


async def test_a_packet_from_elsewhere_is_never_heard(stub_for):
    async with Stranger(lambda _: []) as server, Stranger(lambda _: []) as other:
        told = asked(stub_for(server, SOON))
        await server.came.wait()
        other.transport.sendto(right(server.packets[0]), server.peers[0])
        assert await told is LATE


async def test_an_answer_that_comes_late_or_twice_is_dropped(stub_for):
    async with Stranger(lambda _: []) as server:
        stub = stub_for(server, SOON)
        assert await asked(stub) is LATE
        server.transport.sendto(right(server.packets[0]), server.peers[0])
        server.reply = lambda packet: [right(packet), right(packet)]
        assert await asked(stub) == FOUND
        assert await asked(stub) == FOUND
        assert stub._line.strange >= 2


async def test_where_strange_packets_rain_the_port_is_given_up_and_what_was_asked_there_is_told(stub_for):
    async with Stranger(lambda packet: [about(packet, b"evil")] * MOST_STRANGE) as server:
        stub = stub_for(server)
        assert await asked(stub) is ODD
        assert stub._line is None
        server.reply = lambda packet: [right(packet)]
        assert await asked(stub) == FOUND
        assert len(set(server.peers)) == 2


async def test_whoever_forges_has_to_guess_the_case_of_letters_too(stub_for):
    async with Stranger(lambda packet: [right(packet)]) as server:
        stub = stub_for(server)
        assert await asked(stub, "n" * 60 + ".test") == FOUND
        (packet,) = server.packets
        assert packet != packet[:2] + packet[2:].lower()


async def test_a_nameserver_that_writes_the_question_anew_is_asked_in_lower_case_from_that_port(stub_for):
    async with Stranger(lambda packet: [packet[:2] + right(packet)[2:].lower()]) as server:
        stub = stub_for(server)
        assert await asked(stub, "n" * 60 + ".test") is ODD
        assert await asked(stub) == FOUND
        assert server.packets[1][12:] == server.packets[1][12:].lower()


async def test_where_nobody_listens_c_ares_is_to_find_out(stub_for):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        stub = stub_for(taken.getsockname()[1])
    first = asked(stub)
    refused = not stub.ask("other.test", "A", lambda _: None)  # by the answer to the first, where that is there already
    assert await first is ODD
    assert stub._line is None or not refused


async def test_a_port_has_some_questions_only_and_some_seconds(stub_for, monkeypatch):
    async with Stranger(lambda packet: [right(packet)]) as server:
        stub = stub_for(server)
        for _ in range(PORT_KEPT + 1):
            await asked(stub)
        assert len(set(server.peers)) == 2
        now = stub._loop.time()
        monkeypatch.setattr(stub._loop, "time", lambda: now + PORT_KEPT_FOR, raising=False)
        await asked(stub)
        assert len(set(server.peers)) == 3


async def test_an_old_port_is_heard_until_all_its_questions_have_ended(stub_for):
    async with Stranger(lambda _: []) as server:
        stub = stub_for(server)
        first = asked(stub)
        line = stub._line
        line.left = 0
        await server.came.wait()
        server.reply = lambda packet: [right(packet)]
        assert await asked(stub) == FOUND
        assert stub._line is not line
        assert line.socket.fileno() >= 0
        server.transport.sendto(right(server.packets[0]), server.peers[0])
        assert await first == FOUND
        assert line.socket.fileno() < 0


async def test_more_questions_than_there_may_be_are_not_taken(stub_for, monkeypatch):
    monkeypatch.setattr(module, "MOST_UNDER_WAY", 2)
    async with Stranger(lambda _: []) as server:
        stub = stub_for(server)
        waiting = [asked(stub), asked(stub)]
        assert not stub.ask("name.test", "A", lambda _: None)
        stub.close()
        stub.close()
        assert [await each for each in waiting] == [CLOSED, CLOSED]


async def test_other_types_names_without_a_way_and_no_descriptors_are_not_taken(stub_for, monkeypatch):
    async with Stranger(lambda _: []) as server:
        stub = stub_for(server)
        assert not stub.ask("name.test", "SOA", lambda _: None)

        def none(*_: object) -> socket.socket:
            raise OSError

        monkeypatch.setattr(socket, "socket", none)
        assert not stub.ask("name.test", "A", lambda _: None)


async def test_whoever_is_told_may_close_it(stub_for):
    async with Stranger(lambda _: []) as server:
        stub = stub_for(server, SOON)
        ends: list[Answer | Unanswered] = []
        second = asyncio.get_running_loop().create_future()

        def told(how: Answer | Unanswered) -> None:
            ends.append(how)
            stub.close()

        assert stub.ask("a.test", "A", told)
        assert stub.ask("b.test", "A", second.set_result)
        assert await second is CLOSED
        assert ends == [LATE]


async def test_one_timer_serves_all(stub_for):
    async with DnsServer({("slow.test", "A"): ["192.0.2.1"]}) as server:
        stub = stub_for(server, SOON)
        server.hold("slow.test")
        late = [asked(stub, "slow.test"), asked(stub, "slow.test")]
        timer = stub._timer
        assert (await asked(stub, "name.test")).status is Status.NXDOMAIN
        assert stub._timer is timer
        assert [await each for each in late] == [LATE, LATE]


async def test_a_question_reads_as_one_for_others():
    async with Stranger(lambda _: []) as server:
        stub = Stub("127.0.0.1", server.port, wait=SOON)
        await asked(stub, "_dmarc.name.test", "TXT")
        message = dns.message.from_wire(server.packets[0])
        assert message.question[0].name.to_text().lower() == "_dmarc.name.test."
        stub.close()
