from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gatekeeper.servers import conversation as module
from gatekeeper.servers.conversation import (
    COMMANDS_AHEAD,
    TEXT_AHEAD,
    ClientGone,
    ClientSilent,
    Conversation,
    Interrupted,
    LineTooLong,
)


class Transport:
    """As much of asyncio.Transport as a conversation uses."""

    def __init__(self) -> None:
        self.said = b""
        self.writes = 0
        self.reading = True
        self.closed = False
        self.eof = False
        self.unsent = 0
        self.tls = False
        self.aborted = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.said += data
        self.writes += 1

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def get_extra_info(self, name: str) -> object:
        assert name in ("socket", "ssl_object")
        return self if name == "ssl_object" and self.tls else None

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted.set()


def conversation(line_limit: int = 100, patience: float = 30.0) -> tuple[Conversation, Transport]:
    made = Conversation(asyncio.get_running_loop(), line_limit=line_limit, patience=patience)
    transport = Transport()
    made.connected(cast("Any", transport))
    return made, transport


async def test_lines_come_one_by_one_however_they_arrive():
    talk, _ = conversation()
    talk.received(b"on")
    waiting = asyncio.ensure_future(talk.line(10))
    await asyncio.sleep(0)
    for piece in (b"e\r", b"\ntwo\nthr", b"ee\r\n"):
        talk.received(piece)
    assert await waiting == b"one\r"
    assert [await talk.line(10), await talk.line(10), talk.line_here()] == [b"two", b"three\r", None]


async def test_a_line_that_has_begun_must_get_whole_however_patiently_octets_drip():
    talk, _ = conversation()
    waiting = asyncio.ensure_future(talk.line(1000, whole_within=0.02))
    for _ in range(3):
        await asyncio.sleep(0)
        talk.received(b"x")
    with pytest.raises(ClientSilent):
        await waiting
    whole = asyncio.ensure_future(talk.line(1000, whole_within=0.02))
    talk.received(b"\n")
    assert await whole == b"xxx"


async def test_it_tells_whether_the_client_is_ahead():
    talk, _ = conversation()
    assert not talk.ahead
    talk.received(b"one\ntwo\n")
    await talk.line(10)
    assert talk.ahead


async def test_what_was_said_is_sent_in_one_write_before_waiting():
    talk, transport = conversation()
    talk.received(b"a\nb\n")
    for _ in range(2):
        talk.say(await talk.line(10) + b"!\r\n")
    assert transport.writes == 0
    waiting = asyncio.ensure_future(talk.line(10))
    await asyncio.sleep(0)
    assert (transport.said, transport.writes) == (b"a!\r\nb!\r\n", 1)
    talk.lose(None)
    with pytest.raises(ClientGone):
        await waiting


@pytest.mark.parametrize("cut", [1, 50, 99, 100, 101, 150, 5000])
async def test_a_line_too_long_is_skipped_without_being_kept(cut):
    talk, _ = conversation()
    text = b"x" * 5000 + b"\nnext\n"
    for start in range(0, len(text), cut):
        talk.received(text[start : start + cut])
        if start + cut < 5000:
            assert talk.line_here() is None
            assert len(talk._buffer) <= 100
    with pytest.raises(LineTooLong):
        await talk.line(10)
    assert await talk.line(10) == b"next"


async def test_a_line_of_just_the_limit_is_taken():
    talk, _ = conversation()
    talk.received(b"x" * 99 + b"\n" + b"x" * 100 + b"\n")
    assert len(await talk.line(10)) == 99
    with pytest.raises(LineTooLong):
        await talk.line(10)


async def test_reading_stops_where_a_client_is_too_far_ahead_and_goes_on_when_it_is_not():
    talk, transport = conversation()
    talk.received(b"x\n" * (COMMANDS_AHEAD // 2))
    assert talk.filled
    assert transport.reading
    talk.received(b"x\n")
    assert not transport.reading
    for _ in range(COMMANDS_AHEAD // 2 + 1):
        await talk.line(10)
    waiting = asyncio.ensure_future(talk.line(10))
    await asyncio.sleep(0)
    assert transport.reading
    assert not talk.filled
    waiting.cancel()


async def test_text_may_be_further_ahead_and_afterwards_the_clients_leaving_is_noticed():
    talk, transport = conversation()
    talk.received(b"\n")
    await talk.text(asyncio.get_running_loop().time() + 10)
    talk.received(b"x" * TEXT_AHEAD)
    assert transport.reading
    talk.received(b"x")
    assert not transport.reading
    assert len(await talk.text(asyncio.get_running_loop().time() + 10)) == TEXT_AHEAD + 1
    talk.put_back(b"QUIT\r\n")
    assert transport.reading
    talk.end()
    assert talk.present
    assert await talk.line(10) == b"QUIT\r"
    assert not talk.present


@pytest.mark.parametrize(
    ("sent", "present"),
    [
        (b"", False),
        (b"NOOP\r\n", False),
        (b"QUIT", False),
        (b"QUIT\r\n", True),
        (b"RSET\r\nquit\r\n", True),
        (b"XQUIT\n", False),
    ],
)
async def test_a_client_that_closed_its_side_is_there_only_if_it_said_quit(sent, present):
    talk, _ = conversation()
    talk.received(sent)
    assert talk.present
    talk.end()
    assert talk.present is present
    talk.lose(ConnectionResetError())
    assert not talk.present
    assert talk.broken


async def test_silence_ends_a_wait():
    talk, _ = conversation()
    with pytest.raises(ClientSilent):
        await talk.line(0.001)
    with pytest.raises(ClientSilent):
        await talk.text(asyncio.get_running_loop().time())


async def test_an_interruption_reaches_a_session_between_mails_only():
    talk, _ = conversation()
    waiting = asyncio.ensure_future(talk.line(10))
    await asyncio.sleep(0)
    talk.interrupt()
    await asyncio.sleep(0)
    assert not waiting.done()
    talk.received(b"DATA\n")
    assert await waiting == b"DATA"
    with pytest.raises(Interrupted):
        await talk.line(10, interruptible=True)
    talk.received(b"QUIT\n")
    assert await talk.line(10, interruptible=True) == b"QUIT"


async def test_a_client_that_does_not_read_is_waited_for_but_not_forever():
    talk, transport = conversation(patience=0.001)
    talk.pause_writing()
    talk.say(b"250 Ok\r\n")
    with pytest.raises(ClientSilent):
        await talk.send()
    talk.resume_writing()
    talk.patience = 10
    talk.pause_writing()
    sending = asyncio.ensure_future(talk.send())
    await asyncio.sleep(0)
    assert not sending.done()
    talk.resume_writing()
    await sending
    assert transport.said == b"250 Ok\r\n"


@pytest.mark.parametrize("ends", [False, True])
async def test_what_comes_while_a_client_does_not_read_is_not_overlooked(ends: bool):
    talk, transport = conversation()
    talk.pause_writing()
    talk.say(b"250 Ok\r\n")
    waiting = asyncio.ensure_future(talk.line(0.05))
    await asyncio.sleep(0)
    assert transport.said == b"250 Ok\r\n"
    talk.received(b"QUIT\r\n")
    if ends:
        talk.end()
    talk.resume_writing()
    assert await waiting == b"QUIT\r"


async def test_text_that_comes_while_a_client_does_not_read_is_not_overlooked():
    talk, _ = conversation()
    talk.pause_writing()
    waiting = asyncio.ensure_future(talk.text(talk.now + 0.05))
    await asyncio.sleep(0)
    talk.received(b"Subject: x\r\n")
    talk.resume_writing()
    assert await waiting == b"Subject: x\r\n"


async def test_an_interruption_while_a_client_does_not_read_is_not_overlooked():
    talk, _ = conversation()
    talk.pause_writing()
    waiting = asyncio.ensure_future(talk.line(0.05, interruptible=True))
    await asyncio.sleep(0)
    talk.interrupt()
    talk.resume_writing()
    with pytest.raises(Interrupted):
        await waiting


async def test_a_pause_ends_when_the_connection_is_lost():
    talk, _ = conversation()
    pausing = asyncio.ensure_future(talk.pause(10_000))
    await asyncio.sleep(0)
    talk.received(b"RCPT\n")
    talk.end()
    await asyncio.sleep(0)
    assert not pausing.done()
    talk.lose(None)
    with pytest.raises(ClientGone):
        await pausing
    with pytest.raises(ClientGone):
        await talk.pause(10_000)


async def test_closing_lets_a_client_that_is_still_sending_read_our_last_word():
    talk, transport = conversation()
    talk.say(b"421 bye\r\n")
    await talk.send()
    closing = asyncio.ensure_future(talk.close(linger=True))
    await asyncio.sleep(0)
    assert transport.eof
    assert not transport.closed
    talk.received(b"NOOP\r\n" * 1000)
    await asyncio.sleep(0)
    assert not closing.done()
    talk.end()
    await closing
    assert transport.closed


async def test_nothing_is_written_to_a_lost_connection():
    talk, transport = conversation()
    talk.lose(None)
    talk.say(b"250 Ok\r\n")
    await talk.send()
    await talk.close()
    assert transport.writes == 0


async def test_a_closed_connection_does_not_stay_for_a_client_that_never_reads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FAREWELL_SECONDS", 0.0)
    talk, transport = conversation()
    transport.unsent = 1
    await talk.close()
    await transport.aborted.wait()


# --- TLS -------------------------------------------------------------------------------------------------------------


async def test_what_stood_behind_starttls_is_thrown_away_and_what_comes_over_tls_is_not():
    talk, clear = conversation()
    over_tls = Transport()
    over_tls.tls = True
    talk.received(b"STARTTLS\r\nMAIL FROM:<x@example.net>\r\nRC")
    talk.say(b"250 before\r\n")
    assert await talk.line(10) == b"STARTTLS\r"
    assert await talk.discard() == 29
    assert (clear.said, clear.reading) == (b"250 before\r\n", False)

    async def handshake(transport: asyncio.Transport) -> asyncio.Transport:
        assert cast("Any", transport) is clear
        assert clear.said.endswith(b"220 go\r\n")
        talk.received(b"EHLO x\r\n")  # the loops hand it over before we are told that the handshake is done
        return cast("asyncio.Transport", over_tls)

    await talk.start_tls(b"220 go\r\n", handshake)
    assert talk.secure
    assert await talk.line(10) == b"EHLO x\r"
    talk.say(b"250 hello\r\n")
    await talk.send()
    assert over_tls.said == b"250 hello\r\n"
    talk.received(b"x" * (COMMANDS_AHEAD + 1))
    assert not over_tls.reading


async def test_a_client_that_was_far_ahead_is_read_again_after_the_handshake():
    talk, clear = conversation()
    talk.received(b"STARTTLS\r\n" + b"x" * COMMANDS_AHEAD)
    assert not clear.reading
    await talk.line(10)
    assert await talk.discard() == COMMANDS_AHEAD
    over_tls = Transport()

    async def handshake(_: asyncio.Transport) -> asyncio.Transport:
        return cast("asyncio.Transport", over_tls)

    await talk.start_tls(b"220 go\r\n", handshake)
    talk.received(b"x" * (COMMANDS_AHEAD + 1))
    assert not over_tls.reading


async def test_a_handshake_that_fails_is_the_end():
    talk, transport = conversation()

    async def handshake(_: asyncio.Transport) -> asyncio.Transport:
        raise OSError

    assert await talk.discard() == 0
    with pytest.raises(OSError):
        await talk.start_tls(b"220 go\r\n", handshake)
    talk.say(b"421 bye\r\n")
    await talk.send()
    await talk.close(linger=True)
    assert transport.said == b"220 go\r\n"


async def test_nobody_shakes_hands_with_a_client_that_has_left():
    talk, transport = conversation()
    talk.received(b"STARTTLS\r\n")
    talk.end()
    with pytest.raises(ClientGone):
        await talk.discard()
    assert transport.said == b""


async def test_a_tls_connection_whose_other_side_has_closed_is_lost():
    talk, _ = conversation()
    over_tls = Transport()
    over_tls.tls = True
    talk.connected(cast("Any", over_tls))
    talk.received(b"QUIT\r\n")
    talk.end()
    assert not talk.present
    assert await talk.line(10) == b"QUIT\r"
    with pytest.raises(ClientGone):
        await talk.line(10)


async def test_one_that_closed_in_the_moment_of_its_handshake_is_lost():
    talk, _ = conversation()
    over_tls = Transport()
    over_tls.tls = True
    await talk.discard()

    async def handshake(_: asyncio.Transport) -> asyncio.Transport:
        talk.received(b"QUIT\r\n")
        talk.end()
        return cast("asyncio.Transport", over_tls)

    await talk.start_tls(b"220 go\r\n", handshake)
    assert talk.lost
    assert not talk.present
