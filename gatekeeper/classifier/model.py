"""A learned model: its file, and what it thinks of a message's traits. Pure but for reading the shipped file.

The file is a line that names the format, a line of JSON (`Card`), and one octet for each of 2**bits places, compressed.
A trait's place is its lowest bits. The octet is the trait's weight, signed, by its root so that small weights keep
their digits; 0 for a trait that the model has not met. So no word can be read out of a model.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from itertools import compress
from typing import Any, Final

from gatekeeper.classifier.opinion import MOST, Opinion, Weighed
from gatekeeper.classifier.traits import Traits
from gatekeeper.wire.notation import read_json

FORMAT: Final = b"gatekeeper model 1"
SHIPPED: Final = "shipped.model"
LARGEST = 8 * 1024 * 1024
"""Octets of a model file that is read."""
BITS = range(10, 23)
TOLD = 12
"""Traits that an opinion names."""


class ModelError(ValueError):
    """The file is no model of this format; the text says why."""


@dataclass(frozen=True, slots=True)
class Learned:
    """One of the sets of mail that a model was learned from: how much, and SHA-256 over the digests of its messages."""

    name: str
    label: str
    messages: int
    digest: str


@dataclass(frozen=True, slots=True)
class Card:
    """What stands beside the weights.

    A message of n words has each word's weight times `word_say` / sqrt(n + `steady`), and the same for its other
    traits; `bias` is added. `slope` and `offset` make calibrated log-odds of that. Where the share of the message's
    words that the model has met is below `strange`, or there are fewer than `fewest` traits that it has met, it does
    not know; from `familiar` on it is sure of knowing.
    """

    bits: int
    largest: float
    bias: float
    word_say: float
    other_say: float
    steady: float
    slope: float
    offset: float
    strange: float
    familiar: float
    fewest: int
    learned: tuple[Learned, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Weights by place, and how to read them. `opinion` is all that it is for."""

    card: Card
    places: bytes
    _weights: tuple[float, ...]

    def opinion(self, traits: Traits, told: int = TOLD) -> Opinion:
        """What it thinks; trust 0.0 says that it has not seen such mail. Names the `told` traits that weighed most."""
        card, places, weights = self.card, self.places, self._weights
        mask = len(places) - 1
        words = bytes([places[trait & mask] for trait in traits.words])
        others = bytes([places[trait & mask] for trait in traits.others])
        met_words, met_others = words.translate(None, b"\0"), others.translate(None, b"\0")
        known = len(met_words) / len(words) if words else 0.0
        word_say = card.slope * card.word_say / math.sqrt(len(words) + card.steady)
        other_say = card.slope * card.other_say / math.sqrt(len(others) + card.steady)
        prior = card.offset + card.slope * card.bias
        total = prior + word_say * sum([weights[each] for each in met_words])
        total += other_say * sum([weights[each] for each in met_others])
        moved: tuple[Weighed, ...] = ()
        if told:
            moves = self._heaviest(traits.words, words, word_say, told)
            moves += self._heaviest(traits.others, others, other_say, told)
            moves.sort(reverse=True)
            moved = tuple([Weighed(trait, move) for weight, trait, move in moves[:told] if weight])
        log_odds = min(MOST, max(-MOST, total))
        trust = self._trust(known, len(met_words) + len(met_others))
        return Opinion(log_odds, trust, known, moved, log_odds - sum([each.moved for each in moved]))

    def _heaviest(self, traits: Sequence[int], octets: bytes, say: float, told: int) -> list[tuple[float, int, float]]:
        """The `told` that moved most, and those that moved as much as the last of them: by how much, trait, move."""
        sizes = octets.translate(_SIZES)
        large = b""
        for smaller in _SMALLER:  # most weights are small, and need not be sorted
            large = sizes.translate(None, smaller)
            if len(large) >= told:
                break
        if not large:
            return []
        heavy, weights = sizes.translate(_AT_LEAST[sorted(large)[-told:][0]]), self._weights
        found = [(traits[n], say * weights[octets[n]]) for n in compress(range(len(heavy)), heavy)]
        return [(abs(move), trait, move) for trait, move in found]

    def _trust(self, known: float, met: int) -> float:
        card = self.card
        if met < card.fewest:
            return 0.0
        return min(1.0, max(0.0, (known - card.strange) / (card.familiar - card.strange)))


_SIZES = bytes([min(octet, 256 - octet) for octet in range(256)])
"""How far from nothing the weight is that an octet stands for."""
_AT_LEAST = [bytes([octet >= least for octet in range(256)]) for least in range(129)]
_SMALLER = [bytes(range(size)) for size in (80, 56, 40, 28, 16, 1)]


def read_model(octets: bytes) -> Model:
    """A model from its file. Raises ModelError."""
    try:
        first, line, packed = octets.split(b"\n", 2)
    except ValueError:
        raise ModelError("no model: it has no header") from None
    if first != FORMAT:
        raise ModelError(f"not a model of this format: it begins with {first[:30]!r}")
    try:
        card = _card(read_json(line))
        unpacker = zlib.decompressobj()
        places = unpacker.decompress(packed, (1 << card.bits) + 1)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise ModelError(f"the model is damaged: {error}") from error
    if len(places) != 1 << card.bits or not unpacker.eof:
        raise ModelError(
            f"the model is damaged: it has {len(places)} weights, or is cut off, in the place of {1 << card.bits}"
        )
    return Model(card, places, tuple([weight_of(octet, card.largest) for octet in range(256)]))


def _card(told: Any) -> Card:
    learned = tuple([Learned(**each) for each in told.pop("learned")])
    card = Card(**told, learned=learned)
    numbers = [value for value in asdict(card).values() if isinstance(value, int | float)]
    if card.bits not in BITS or not all(map(math.isfinite, numbers)):
        raise ValueError("a number is out of bounds")
    if card.steady <= 0 or card.familiar <= card.strange:
        raise ValueError("a number is out of bounds")
    return card


def written(card: Card, places: bytes) -> bytes:
    """The file of a model; the same for the same weights."""
    told = json.dumps(asdict(card), sort_keys=True, ensure_ascii=True).encode("ascii")
    return b"\n".join((FORMAT, told, zlib.compress(places, 9)))


def weight_of(octet: int, largest: float) -> float:
    """The weight that an octet stands for."""
    signed = octet - 256 if octet > 127 else octet
    return math.copysign((signed / 127) ** 2 * largest, signed)


def octet_of(weight: float, largest: float) -> int:
    """The octet nearest to a weight; never 0, which is for what was not met."""
    root = round(127 * math.sqrt(min(1.0, abs(weight) / largest)))
    return max(1, root) if weight >= 0 else 256 - max(1, root)


@cache
def shipped_model() -> Model:
    """The model that comes with the package, read at the first call."""
    return read_model(files("gatekeeper.classifier").joinpath(SHIPPED).read_bytes()[:LARGEST])
