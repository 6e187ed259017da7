"""Labelled mail on disk, made up here: three corpora with spam, and one household's."""

from __future__ import annotations

import random
from pathlib import Path

from bench.training.household import HOUSEHOLD
from tests.support.lessons import OFFER, PLAIN, mail

CORPORA = ("north", "south", "west", HOUSEHOLD)
EACH = 8
"""Messages of each kind in each of them."""


def write_labelled(place: Path) -> Path:
    """DIR with DIR.tsv beside it, as `bench/training/corpora.py` reads them; every third message is learned only."""
    where = place / "mail"
    rows = []
    for corpus in CORPORA:
        for label, words in (("spam", OFFER), ("ham", PLAIN)):
            (where / corpus / label).mkdir(parents=True)
            for n in range(EACH):
                path = f"{corpus}/{label}/{n:02}.eml"
                # Words of its own, so that messages are no near-copies of each other.
                own = " ".join(_word(f"{path}{k}") for k in range(30))
                (where / path).write_bytes(
                    mail(words, n).replace(b"\r\nYours", f"\r\n{own}\r\n{corpus}\r\nYours".encode())
                )
                tier = "2" if n % 3 == 2 else "1"
                rows.append(f"{tier}\t{path}\t{label}\t{corpus}\t192.0.2.1\tmx.example.net\ta@sender.example")
    where.with_name("mail.tsv").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return where


def _word(seed: str) -> str:
    chance = random.Random(seed)
    return "".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(7))
