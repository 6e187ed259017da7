"""Postfix's questions over real sockets, and peers that are no Postfix."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.model import Action, Stage
from gatekeeper.servers.policy_service import PolicyServer, Settings
from gatekeeper.store.base import Store
from gatekeeper.store.memory import MemoryStore
from gatekeeper.wire.policy_request import REQUEST_OCTETS
from tests.support.fake_gate import FakeGate
from tests.support.fake_store import FakeStore


class Smtpd:
    """One smtpd process of Postfix's: a connection and its questions."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, state: str, instance: str = "a.1", to: str = "", **facts: str) -> None:
        known = {
            "request": "smtpd_access_policy",
            "protocol_state": state,
            "protocol_name": "ESMTP",
            "client_address": "192.0.2.10",
            "client_port": "4711",
            "client_name": "mail.example.net",
            "helo_name": "mail.example.net",
            "sender": "someone@example.net",
            "recipient": to,
            "instance": instance,
        } | facts
        self.writer.write("".join(f"{name}={value}\n" for name, value in known.items()).encode() + b"\n")

    async def answer(self) -> str:
        octets = await self.reader.readuntil(b"\n\n")
        assert octets.startswith(b"action=")
        return octets[7:-2].decode()

    async def ask(self, state: str, instance: str = "a.1", to: str = "", **facts: str) -> str:
        self.send(state, instance, to, **facts)
        return await self.answer()

    async def mail(self, instance: str, to: str = "alice@example.org") -> list[str]:
        return [
            await self.ask("RCPT", instance, to),
            await self.ask("DATA", instance, to, recipient_count="1"),
            await self.ask("END-OF-MESSAGE", instance, to, recipient_count="1", size="4321"),
        ]

    async def ended(self) -> bool:
        """Waits for the end of the connection; whether it came without a word."""
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class Service:
    server: PolicyServer
    gate: FakeGate
    at: int | Path

    async def smtpd(self) -> Smtpd:
        if isinstance(self.at, Path):
            return Smtpd(*await asyncio.open_unix_connection(str(self.at)))
        return Smtpd(*await asyncio.open_connection("127.0.0.1", self.at))

    async def until(self, sessions: int) -> None:
        while self.server.sessions != sessions:  # noqa: ASYNC110 - the server tells nobody when one has gone
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def service(
    *,
    gate: FakeGate | None = None,
    store: Store | None = None,
    unix: Path | None = None,
    workers: int = 1,
    **settings: Any,
) -> AsyncIterator[Service]:
    gate = gate or FakeGate(inserts=[("X-Spam-Status", "No, score=0")])
    server = PolicyServer(Settings(**settings), gate=gate, store=store, workers=workers)
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as listener:
        listener.bind(str(unix) if unix else ("127.0.0.1", 0))
        listener.listen(128)
        await server.start([listener])
        try:
            async with asyncio.timeout(60):
                yield Service(server, gate, unix or listener.getsockname()[1])
        finally:
            await server.drain(0)
    assert server.sessions == 0
    assert sorted(id(one) for one in gate.left) == sorted(id(one) for one in gate.sessions), "left by all, and once"


async def test_mails_of_several_clients_on_one_connection():
    async with service() as served:
        smtpd = await served.smtpd()
        header = "PREPEND X-Spam-Status: No, score=0"
        assert await smtpd.mail("a.1") == ["DUNNO", header, "DUNNO"]
        assert await smtpd.mail("a.2") == ["DUNNO", header, "DUNNO"]
        assert await smtpd.ask("RCPT", "a.3", "bob@example.org", client_address="192.0.2.11") == "DUNNO"
        assert [str(session.address) for session in served.gate.sessions] == ["192.0.2.10", "192.0.2.11"]
        assert len(served.gate.left) == 1
    assert [done.recipients for done in served.gate.finished] == [
        ["alice@example.org"],
        ["alice@example.org"],
        ["bob@example.org"],
    ]


async def test_a_unix_socket_serves_as_well(tmp_path: Path):
    async with service(unix=tmp_path / "policy") as served:
        assert await (await served.smtpd()).ask("RCPT", to="alice@example.org") == "DUNNO"


async def test_a_question_may_come_octet_by_octet():
    async with service() as served:
        smtpd = await served.smtpd()
        smtpd.send("RCPT", to="alice@example.org")
        smtpd.send("DATA", recipient_count="1")
        assert await smtpd.answer() == "DUNNO"
        assert (await smtpd.answer()).startswith("PREPEND ")
        text = b"request=smtpd_access_policy\nprotocol_state=VRFY\nrecipient=bob@example.org\n\n"
        for n in range(len(text)):
            smtpd.writer.write(text[n : n + 1])
            await asyncio.sleep(0)
        assert await smtpd.answer() == "DUNNO"


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO somebody\r\n\n\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"request=smtpd_access_policy\nsender=a\0b\n\n",
        b"\n",
        b"a=" + b"x" * REQUEST_OCTETS,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n",
    ],
)
async def test_what_is_no_question_gets_no_answer(octets: bytes, caplog: pytest.LogCaptureFixture):
    async with service() as served:
        smtpd, other = await served.smtpd(), await served.smtpd()
        smtpd.writer.write(octets)
        assert await smtpd.ended()
        assert "policy_request_unreadable" in caplog.messages
        assert await other.ask("RCPT", to="alice@example.org") == "DUNNO"


async def test_a_question_without_its_empty_line_gets_no_answer(caplog: pytest.LogCaptureFixture):
    async with service() as served:
        smtpd = await served.smtpd()
        smtpd.writer.write(b"request=smtpd_access_policy\nprotocol_state=RCPT\n")
        smtpd.writer.write_eof()
        assert await smtpd.ended()
        assert "policy_request_unreadable" in caplog.messages


async def test_a_peer_that_closes_its_side_still_gets_its_answer():
    async with service() as served:
        served.gate.hold(Stage.RCPT)
        smtpd = await served.smtpd()
        smtpd.send("RCPT", to="alice@example.org")
        smtpd.writer.write_eof()
        await served.gate.until("judged")
        served.gate.go(Stage.RCPT)
        assert await smtpd.answer() == "DUNNO"
        assert await smtpd.ended()


async def test_a_stranger_is_hung_up_on(caplog: pytest.LogCaptureFixture):
    async with service(trust=("192.0.2.0/24", "unix")) as served:
        assert await (await served.smtpd()).ended()
    assert "policy_stranger" in caplog.messages


async def test_a_peer_that_sends_far_ahead_is_hung_up_on():
    async with service() as served:
        served.gate.hold(Stage.RCPT)
        smtpd = await served.smtpd()
        smtpd.send("RCPT", to="alice@example.org")
        smtpd.writer.write(b"a=" + b"x" * 3 * REQUEST_OCTETS)
        assert await smtpd.ended()
        served.gate.go(Stage.RCPT)
        await served.until(sessions=0)


async def test_a_peer_that_does_not_read_its_answers_is_hung_up_on():
    async with service() as served:
        smtpd = await served.smtpd()
        sock = smtpd.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        smtpd.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport can read
        with contextlib.suppress(ConnectionError):
            while served.server.sessions:
                for _ in range(100):
                    smtpd.send("RCPT", to="alice@example.org")
                await smtpd.writer.drain()


async def test_one_connection_too_many_is_closed():
    async with service(connections=1) as served:
        first = await served.smtpd()
        await first.ask("RCPT", to="alice@example.org")
        assert await (await served.smtpd()).ended()
        assert await first.ask("RCPT", to="bob@example.org") == "DUNNO"


async def test_a_connection_without_questions_is_closed_after_a_while():
    async with service(idle_timeout=0.01) as served:
        assert await (await served.smtpd()).ended()


async def test_a_bug_ends_its_connection_without_an_answer(caplog: pytest.LogCaptureFixture):
    async with service() as served:
        served.gate.fail(Stage.RCPT, RuntimeError("a bug"))
        smtpd, other = await served.smtpd(), await served.smtpd()
        smtpd.send("RCPT", to="alice@example.org")
        assert await smtpd.ended()
        assert await other.ask("DATA", "b.1", client_port="4712") == "PREPEND X-Spam-Status: No, score=0"
    assert "session_failed" in caplog.messages


async def test_a_bug_at_the_end_of_a_client_is_logged(caplog: pytest.LogCaptureFixture):
    async with service() as served:
        smtpd = await served.smtpd()
        await smtpd.ask("RCPT", to="alice@example.org")

        async def fail(*_: object, **__: object) -> None:
            raise RuntimeError("a bug")

        served.gate.finish = fail  # type: ignore[method-assign]  # that is the bug
    assert "session_failed" in caplog.messages


async def test_judging_that_takes_too_long_is_a_deferral(caplog: pytest.LogCaptureFixture):
    async with service(deadline=0.01) as served:
        served.gate.hold(Stage.RCPT)
        smtpd = await served.smtpd()
        assert (await smtpd.ask("RCPT", to="alice@example.org")).startswith("DEFER_IF_PERMIT 4.3.0 ")
        served.gate.go(Stage.RCPT)
        assert await smtpd.ask("RCPT", "a.2", to="alice@example.org") == "DUNNO"
        assert len(served.gate.sessions) == 2  # nothing of the half-judged one is gone on with
    assert "policy_late" in caplog.messages


async def test_a_client_is_slowed_before_the_deadline():
    async with service(deadline=0.05) as served:
        served.gate.say(Stage.RCPT, Action.ACCEPT, delay=10_000.0)
        assert await (await served.smtpd()).ask("RCPT", to="alice@example.org") == "DUNNO"


async def test_only_so_many_answers_are_held_back():
    async with service(slowed=1) as served:
        served.gate.say(Stage.RCPT, Action.ACCEPT, delay=10_000.0, to="alice@example.org")
        served.gate.say(Stage.RCPT, Action.ACCEPT, delay=10_000.0, to="bob@example.org")
        held, other = await served.smtpd(), await served.smtpd()
        held.send("RCPT", to="alice@example.org")
        await served.gate.until("judged")
        assert await other.ask("RCPT", "b.1", "bob@example.org", client_port="4712") == "DUNNO"


async def test_a_mail_goes_on_on_another_connection():
    async with service() as served:
        first = await served.smtpd()
        await first.ask("RCPT", to="alice@example.org")
        await first.ask("RCPT", to="bob@example.org")
        await first.close()
        await served.until(sessions=0)
        second = await served.smtpd()
        assert (await second.ask("DATA", recipient_count="2")).startswith("PREPEND ")
        await second.ask("END-OF-MESSAGE", recipient_count="2")
        assert [done.recipients for done in served.gate.finished] == [["alice@example.org", "bob@example.org"]]
        assert len(served.gate.sessions) == 1


async def test_two_services_of_one_smtpd_ask_about_the_same_mail():
    async with service() as served:
        at_rcpt, at_data = await served.smtpd(), await served.smtpd()
        for instance in ("a.1", "a.2"):
            await at_rcpt.ask("RCPT", instance, "alice@example.org")
            assert (await at_data.ask("DATA", instance, recipient_count="1")).startswith("PREPEND ")
            await at_data.ask("END-OF-MESSAGE", instance, recipient_count="1")
        assert [done.recipients for done in served.gate.finished] == [["alice@example.org"]] * 2


async def test_a_mail_of_a_closed_connection_is_recorded_after_a_while():
    async with service(remembered=0.01) as served:
        smtpd = await served.smtpd()
        await smtpd.ask("RCPT", to="alice@example.org")
        await smtpd.close()
        await served.gate.until("finished")
        assert served.gate.finished[0].note == "end_not_seen"
        await served.gate.until("left")


async def test_a_mail_in_hand_when_postfix_closes_its_connection_was_given_up():
    async with service(store=MemoryStore(), remembered=0.01) as served:
        smtpd = await served.smtpd()
        await smtpd.mail("a.1")
        await smtpd.ask("RCPT", "a.2", "alice@example.org")
        await smtpd.close()
        await served.gate.until("left")
        assert [done.note for done in served.gate.finished] == ["", "client_gone"]
        assert served.gate.sessions[0].counters.abandoned == 1


@pytest.mark.parametrize("state", ["RCPT", "DATA"])
async def test_a_mail_that_goes_on_at_another_worker_is_not_held_against_the_client(state: str):
    store = MemoryStore()
    async with service(store=store, remembered=0.2) as here, service(store=store) as elsewhere:
        first = await here.smtpd()
        await first.mail("a.1")  # that we are asked at DATA is known
        await first.ask("RCPT", "a.2", "alice@example.org")
        await first.close()
        await here.until(sessions=0)
        second = await elsewhere.smtpd()
        assert await second.ask(state, "a.2", "alice@example.org", recipient_count="1") != ""
        await second.ask("END-OF-MESSAGE", "a.2", "alice@example.org", recipient_count="1")
        await here.gate.until("left")
        assert [done.note for done in here.gate.finished] == ["", "end_not_seen"]
        assert here.gate.finished[1].verdict is not None
        assert here.gate.sessions[0].counters.abandoned == 0
        assert [done.note for done in elsewhere.gate.finished] == [""]


async def test_what_we_have_cut_off_is_not_held_against_the_client():
    async with service() as served:
        smtpd = await served.smtpd()
        await smtpd.mail("a.1")
        await smtpd.ask("RCPT", "a.2", "alice@example.org")
        await served.server.drain(0)
        await served.gate.until("left")
        assert served.gate.finished[1].note == "end_not_seen"
        assert served.gate.sessions[0].counters.abandoned == 0


async def test_a_connection_that_ends_in_the_middle_of_a_question_says_nothing_about_the_client():
    async with service(remembered=0.01) as served:
        smtpd = await served.smtpd()
        await smtpd.mail("a.1")
        await smtpd.ask("RCPT", "a.2", "alice@example.org")
        served.gate.hold(Stage.RCPT)
        smtpd.send("RCPT", "a.2", "bob@example.org")
        await served.gate.until("judged", 5)
        await smtpd.close()
        served.gate.go(Stage.RCPT)
        await served.gate.until("left")
        assert served.gate.finished[1].note == "end_not_seen"
        assert served.gate.sessions[0].counters.abandoned == 0


async def test_where_the_store_is_away_nothing_is_held_against_the_client():
    store = FakeStore()
    store.away = True
    async with service(store=store, remembered=0.01) as served:
        smtpd = await served.smtpd()
        await smtpd.mail("a.1")
        await smtpd.ask("RCPT", "a.2", "alice@example.org")
        await smtpd.close()
        await served.gate.until("left")
        assert [done.note for done in served.gate.finished] == ["", "end_not_seen"]


async def test_a_bug_in_the_store_ends_no_connection(caplog: pytest.LogCaptureFixture):
    store = MemoryStore()

    async def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    store.put_notes = fail  # type: ignore[method-assign, assignment]  # that is the bug
    async with service(store=store) as served:
        assert await (await served.smtpd()).mail("a.1")
    assert "session_failed" in caplog.messages


async def test_only_so_many_mails_of_closed_connections_are_remembered():
    async with service(remembered_mails=1) as served:
        for port in ("1", "2"):
            smtpd = await served.smtpd()
            await smtpd.ask("RCPT", f"a.{port}", "alice@example.org", client_port=port)
            await smtpd.close()
            await served.until(sessions=0)
        await served.gate.until("left")
        assert [session.port for session in served.gate.left] == [1]


async def test_two_that_ask_about_the_same_mail_at_once_are_not_mixed():
    async with service() as served:
        first, second = await served.smtpd(), await served.smtpd()
        await first.ask("RCPT", to="alice@example.org")
        served.gate.hold(Stage.DATA)
        first.send("DATA", recipient_count="1")
        await served.gate.until("judged", 2)
        second.send("DATA", recipient_count="1")
        await served.gate.until("judged", 3)
        served.gate.go(Stage.DATA)
        assert (await first.answer()).startswith("PREPEND ")
        assert (await second.answer()).startswith("PREPEND ")
        assert len(served.gate.sessions) == 2


async def test_an_instance_of_another_client_is_not_believed():
    async with service() as served:
        first, second = await served.smtpd(), await served.smtpd()
        await first.ask("RCPT", to="alice@example.org")
        await second.ask("DATA", client_address="192.0.2.66", recipient_count="1")
        assert len(served.gate.sessions) == 2
        assert (await first.ask("DATA", recipient_count="1")).startswith("PREPEND ")


async def test_draining_lets_a_mail_come_to_its_end():
    async with service() as served:
        idle, smtpd = await served.smtpd(), await served.smtpd()
        await idle.ask("RCPT", "b.1", "bob@example.org", client_port="4712")
        await smtpd.mail("a.1")
        await smtpd.ask("RCPT", "a.2", "alice@example.org")
        draining = asyncio.create_task(served.server.drain(30))
        assert await idle.ended()  # whether more will be asked about that mail is not known: nothing to wait for
        assert (await smtpd.ask("DATA", "a.2", recipient_count="1")).startswith("PREPEND ")
        assert await smtpd.ask("END-OF-MESSAGE", "a.2", recipient_count="1") == "DUNNO"
        assert await smtpd.ended()
        await draining
        assert len(served.gate.finished) == 3


async def test_draining_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture):
    async with service() as served:
        smtpd, judged = await served.smtpd(), await served.smtpd()
        await smtpd.mail("a.1")
        await smtpd.ask("RCPT", "a.2", "alice@example.org")
        served.gate.hold(Stage.RCPT)
        judged.send("RCPT", "b.1", "bob@example.org", client_port="4712")
        await served.gate.until("judged", 5)
        await served.server.drain(0)
        assert await smtpd.ended()
        assert await judged.ended()
        assert served.server.sessions == 0
    assert "sessions_cut_off" in caplog.messages


async def test_limits_are_shared_by_the_workers():
    async with service(connections=2, workers=2) as served:
        first = await served.smtpd()
        await first.ask("RCPT", to="alice@example.org")
        assert await (await served.smtpd()).ended()


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gatekeeper")
