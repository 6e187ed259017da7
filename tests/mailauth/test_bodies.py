from __future__ import annotations

import asyncio
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import rsa

from gatekeeper.mailauth.bodies import MEMO, PIECE, body_hashes, body_of, made_before, signatures_of
from gatekeeper.mailauth.dkim_canonical import BodyHashes, Canon
from gatekeeper.model import BytesBody, Message
from tests.support.arc_sealer import sealed
from tests.support.dkim_signer import signed
from tests.support.mail import message_of

KEY = rsa.generate_private_key(65537, 1024)
MAIL = b"From: a@example.com\r\nSubject: x\r\n\r\nHi.\r\n"
WHOLE = (Canon.RELAXED, None)


class CountedBody(BytesBody):
    """A body that knows how often it was read."""

    reads = 0

    def chunks(self) -> Iterator[bytes]:
        self.reads += 1
        yield from super().chunks()


async def test_a_body_is_read_once_for_everybody() -> None:
    message = message_of(sealed(signed(MAIL, KEY, canon="simple/simple"), KEY, domain="b.example"))
    body = CountedBody(b"x" * 3 * PIECE + b"\r\n")
    message = Message(message.header, body)
    first, second = await asyncio.gather(body_of(message, [(Canon.SIMPLE, None)]), body_of(message, [WHOLE]))
    assert first is second
    assert first.kinds == {(Canon.SIMPLE, None), WHOLE}
    assert body.reads == 1
    # Something that nobody could foresee is made anew.
    third = await body_of(message, [(Canon.RELAXED, 7)])
    assert (third.digest(Canon.RELAXED, 7), body.reads) != (None, 1)


async def test_a_large_body_takes_no_long_turn() -> None:
    message = Message(b"From: a@example.com\r\n", BytesBody(b"x" * 10 * PIECE))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(others())
    await body_of(message, [WHOLE])
    task.cancel()
    assert turns >= 10


def test_what_is_signed_and_sealed_is_hashed_as_the_body_comes_in() -> None:
    raw = sealed(signed(MAIL, KEY, canon="relaxed/simple", limit=2), KEY, domain="b.example")
    assert body_hashes(raw.partition(b"\r\n\r\n")[0] + b"\r\n").kinds == {(Canon.SIMPLE, 2), WHOLE}
    assert not body_hashes(b"From: a@b.example\r\n")


async def test_hashes_made_before_are_taken_if_they_are_the_right_ones() -> None:
    message = message_of(MAIL)
    assert made_before(message, [WHOLE]) is None
    message.memo[MEMO] = BodyHashes([(Canon.SIMPLE, None)])
    assert made_before(message, [WHOLE]) is None
    hashes = await body_of(message, [WHOLE])
    assert made_before(message, [WHOLE]) is hashes


def test_signatures_are_read_once() -> None:
    message = message_of(signed(MAIL, KEY).partition(b"From:")[0] * 3 + MAIL)
    assert signatures_of(message)[0] is signatures_of(message)[0]
    assert len(signatures_of(message, 2)) == 2
    assert len(signatures_of(message, 50)) == 3
