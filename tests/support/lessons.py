"""Synthetic mail to learn from, and traits by hand."""

from __future__ import annotations

import random
from collections.abc import Iterable

from gatekeeper.classifier.traits import Traits
from gatekeeper.message.as_received import message_of
from gatekeeper.model import Message

PLAIN = "meeting agenda budget garden harvest letter museum kitchen winter ticket bridge engine paper school river"
OFFER = "casino bonus jackpot spins winner vault payout roulette chips lucky deposit wager prize reels instant"


def mail(words: str, number: int, *, sender: str = "someone@sender.example") -> bytes:
    """A message made of some of these words, in an order of its own."""
    chance = random.Random(f"{words[:20]}{number}")
    said = words.split()
    chance.shuffle(said)
    text = " ".join(said[:12])
    return (
        f"From: <{sender}>\r\nTo: <user@example.org>\r\nSubject: {' '.join(said[:3])}\r\n"
        f"Message-ID: <{number}.{said[0]}@sender.example>\r\nDate: Sat, 28 Nov 2026 10:00:00 +0000\r\n\r\n"
        f"Dear reader,\r\n\r\n{text}\r\n\r\nYours\r\n"
    ).encode()


def message(words: str, number: int) -> Message:
    return message_of(mail(words, number))


def traits(words: Iterable[int], others: Iterable[int] = range(9_000, 9_010)) -> Traits:
    return Traits(tuple(words), tuple(others))
