"""Labelled mail on disk -> messages with their traits; and which of them are near-copies of each other.

DIR has DIR.tsv beside it: a line for each message, with tier, path in DIR, label, corpus, and where they are known the
client's address, its HELO, and the sender of the envelope.
Tier 1 is the sample that is measured; what is learned from is all of it.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.training.letters import letters
from gatekeeper.classifier.traits import Traits, traits_of
from gatekeeper.message.reading import read_message

MADE = "letters"
"""The corpus that `bench/training/letters.py` makes."""
WORTH_A_POOL = 500
"""Messages from which on they are read by several processes."""
DEFAULT = Path("../shared/detect/dev")
ABSENT = """\
{where} is not there. The model is learned from labelled mail that cannot be part of this repository. Fetch
  - SpamAssassin's public corpus (spam and ham, 2002-2003),
  - the CSDMC2010 mail (its part of 2009-2010),
  - Jose Nazario's phishing corpus (2005),
  - a collection of today's spam, and
  - list archives, and receipts, statements and newsletters that their readers wanted,
as one file for each message, DIR/CORPUS/LABEL/FILE, without the header fields that the receiver's filter wrote; and
beside it DIR.tsv, a line for each message: tier (1: measured, 2: learned only), path in DIR, spam or ham, corpus.
Then: make model CORPORA=DIR"""


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled message: where it was, and what it looks like. `sender` is that of its envelope, "" if not known."""

    path: str
    corpus: str
    spam: bool
    measured: bool
    digest: str
    traits: Traits
    sender: str = ""


def examples(where: Path) -> list[Example]:
    """Every message that DIR.tsv lists. Ends the program with what to fetch where it is not there."""
    table = where.with_name(where.name + ".tsv")
    if not table.is_file():
        sys.exit(ABSENT.format(where=table))
    rows = [line.rstrip("\n").split("\t") for line in table.open(encoding="utf-8")]
    listed = [(where, row) for row in rows]
    if len(listed) < WORTH_A_POOL:
        return [*map(_read, listed)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(_read, listed, chunksize=64))


def _read(listed: tuple[Path, list[str]]) -> Example:
    where, (tier, path, label, corpus, *more) = listed
    octets = (where / path).read_bytes()
    digest = hashlib.sha256(octets).hexdigest()
    return Example(
        path, corpus, label == "spam", tier == "1", digest, traits_of(read_message(octets)), "".join(more[2:3])
    )


ALIKE = 0.5
"""What two messages share of their words, from where on they are near-copies."""
_HASHES = 24


def near_copies(all_examples: Sequence[Example]) -> list[int]:
    """For each message the number of its group: messages that are near-copies, directly or through others."""
    chance = random.Random(1)  # nothing is secret here
    masks = [(chance.getrandbits(32) | 1, chance.getrandbits(32)) for _ in range(_HASHES)]
    words = [frozenset(each.traits.words) for each in all_examples]
    buckets: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for n, each in enumerate(words):
        if len(each) < 8:
            continue
        signature = [min([(word * a + b) & 0xFFFFFFFF for word in each]) for a, b in masks]
        for k in range(0, _HASHES, 2):
            buckets[k, signature[k], signature[k + 1]].append(n)
    groups = list(range(len(all_examples)))

    def group_of(n: int) -> int:
        while groups[n] != n:
            groups[n] = groups[groups[n]]
            n = groups[n]
        return n

    for bucket in buckets.values():
        for other in bucket[1:]:
            one = bucket[0]
            if group_of(one) != group_of(other):
                shared = len(words[one] & words[other])
                if shared >= ALIKE * (len(words[one]) + len(words[other]) - shared):
                    groups[group_of(other)] = group_of(one)
    return [group_of(n) for n in range(len(groups))]


def folds_of(groups: Sequence[int], count: int = 5) -> list[int]:
    """A fold for each message, by chance, near-copies together; the same each time."""
    order = sorted(set(groups))
    random.Random(3).shuffle(order)  # nothing is secret here
    fold = {group: n % count for n, group in enumerate(order)}
    return [fold[group] for group in groups]


def digests(all_examples: Iterable[Example]) -> Iterator[tuple[str, str, int, str]]:
    """By corpus and label: how many messages, and SHA-256 over the sorted lines "DIGEST  PATH"."""
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in all_examples:
        lines[each.corpus, "spam" if each.spam else "ham"].append(f"{each.digest}  {each.path}\n")
    for (corpus, label), listed in sorted(lines.items()):
        yield corpus, label, len(listed), hashlib.sha256("".join(sorted(listed)).encode()).hexdigest()


def made(count: int = 600) -> list[Example]:
    """The mail that `bench/training/letters.py` makes, as examples of one corpus."""
    found = []
    for n, letter in enumerate(letters(count)):
        path = f"{MADE}/{'spam' if letter.spam else 'ham'}/{n:05}"
        digest = hashlib.sha256(letter.octets).hexdigest()
        found.append(Example(path, MADE, letter.spam, False, digest, traits_of(read_message(letter.octets))))
    return found
