"""What a site's own mail says of a message: traits counted in what its people called spam and ham. Pure.

Naive Bayes with few assumptions, so that it is understood, taken back exactly, and of use from the first few lessons.
For each class every trait is as likely as it was among all traits of that class' lessons (so that a class of long
messages does not have all the words), joined by one lesson that nobody gave, in which words are rare and other traits
are not. The sum over all traits is divided by the root of their number, since they do not speak independently of each
other, and made log-odds by a slope that was fitted on mail of several sites
(docs/decisions/lessons-are-counted-not-trained.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from heapq import nlargest

from gatekeeper.classifier.opinion import MOST, Opinion, Weighed
from gatekeeper.classifier.traits import Traits
from gatekeeper.store.base import MOST_TRAITS, Learned

ENOUGH = 5
"""Lessons of a class before anything is claimed for it."""
HALF = 5.0
"""Lessons of the class that is claimed at which a site is trusted by half."""
KNOWN = 0.6
"""The share of a message's words that a site has to know to be trusted fully."""
WORD, OTHER = 0.02, 0.2
"""In how many of all messages a trait is, as far as nobody has seen."""
TYPICAL = 240
"""Traits of the one lesson that nobody gave."""
SLOPE = 0.6
BOLD = 1.5
"""Each doubling of a class' lessons lets twice the odds be claimed for it, and all of them this much more: twenty
lessons that are all alike say no more than 94 to 1, however sure the sum is, since they may be one person's mistake."""
BOTH = 10
"""Lessons of both classes from which on a trait that was in none says nothing. Before, it is a sign that the message
is unlike the few that were learned: with lessons of one class only, there is nothing else to go by."""
SHOWN = 12


def chosen(traits: Traits) -> tuple[int, ...]:
    """The traits of a message that are learned and asked for: all but those of very long ones; ascending.

    Of those it is the same part of each message that goes in: what is left out here is left out there.
    """
    others = traits.others[: MOST_TRAITS // 2]
    words = traits.words
    if len(words) + len(others) > MOST_TRAITS:
        words = tuple(sorted(words)[: MOST_TRAITS - len(others)])
    return tuple(sorted({*words, *others}))


def together(learned: Iterable[Learned]) -> Learned:
    """What several kinds have learned, as one."""
    total, *others = [*learned] or [Learned()]
    for one in others:
        counts = dict(total.counts)
        for trait, (ham, spam) in one.counts.items():
            in_ham, in_spam = counts.get(trait, (0, 0))
            counts[trait] = (in_ham + ham, in_spam + spam)
        traits = (total.ham_traits + one.ham_traits, total.spam_traits + one.spam_traits)
        total = Learned(total.ham + one.ham, total.spam + one.spam, *traits, counts)
    return total


def opinion(traits: Traits, learned: Learned) -> Opinion | None:
    """What the site says of a message with these traits; None where it has nothing to say.

    For a class of which it has learned fewer than `ENOUGH` it claims nothing.
    """
    if max(learned.ham, learned.spam) < ENOUGH:
        return None
    moves = _moves(traits, learned)
    if not moves:
        return None
    known = _share_known(traits, learned)
    scale = SLOPE / math.sqrt(len(moves))
    total = scale * sum(move for _, move in moves)
    most, least = _most(learned.spam), -_most(learned.ham)
    log_odds = min(most, max(least, total))
    trust = _trust(log_odds, learned, known)
    if log_odds == 0.0 or trust == 0.0:
        return None
    scale *= log_odds / total
    heaviest = nlargest(SHOWN, moves, key=lambda move: abs(move[1]))
    moved = tuple([Weighed(trait, move * scale) for trait, move in heaviest])
    return Opinion(log_odds, trust, known, moved, log_odds - sum(one.moved for one in moved))


def _most(lessons: int) -> float:
    """What may be claimed for a class after so many lessons of it, in log-odds."""
    return min(MOST, BOLD + math.log(lessons + 1)) if lessons >= ENOUGH else 0.0


def _moves(traits: Traits, learned: Learned) -> list[tuple[int, float]]:
    fade = max(0.0, 1 - min(learned.ham, learned.spam) / BOTH)
    base = math.log((learned.ham_traits + TYPICAL) / (learned.spam_traits + TYPICAL))
    unknown, counts, log = base * fade, learned.counts, math.log
    long = len(traits.words) + len(traits.others) > MOST_TRAITS
    asked = frozenset(chosen(traits)) if long else frozenset()
    moves: list[tuple[int, float]] = []
    for group, rare in ((traits.words, WORD), (traits.others, OTHER)):
        for trait in group:
            if long and trait not in asked:
                continue
            found = counts.get(trait)
            move = unknown if found is None else base + log((found[1] + rare) / (found[0] + rare))
            moves.append((trait, move))
    return moves


def _share_known(traits: Traits, learned: Learned) -> float:
    of = traits.words or traits.others
    return sum(trait in learned.counts for trait in of) / len(of)


def _trust(log_odds: float, learned: Learned, known: float) -> float:
    """From how many lessons there are of the class that is claimed; where little is claimed, of the other as well."""
    claimed = learned.spam if log_odds > 0 else learned.ham
    fewest = min(learned.ham, learned.spam)
    lessons = fewest + (claimed - fewest) * min(1.0, abs(log_odds) / 2)
    return lessons / (lessons + HALF) * min(1.0, known / KNOWN)
