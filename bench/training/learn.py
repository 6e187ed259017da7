"""Examples -> a model: logistic regression over traits, calibrated on mail of corpora that it has not seen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from bench.training.corpora import MADE, Example, folds_of, near_copies
from gatekeeper.classifier.model import Card, Learned, Model, octet_of, read_model, written

MODERN_HAM = "foff_milter"
"""The wanted mail of today, where it may be learned from: counted six times (with its root here, see `_weights`)."""

MADE_SAY = 0.2
"""What a message that was made counts beside one that somebody got."""

BITS = 20
STEADY = 10.0
WORD_SAY, OTHER_SAY = 0.3, 1.0
INVERSE_PENALTY = 3.0
LEAST = 2
"""In how many groups of near-copies of a corpus a trait must stand to count as met there."""
CORPORA_LEAST = 2
"""In how many corpora a trait must be met to be learned: what only one has is what that corpus is about."""


@dataclass(frozen=True, slots=True)
class Design:
    """Examples as numbers, worked out once: a row for each, a column for each trait that could be learned."""

    examples: Sequence[Example]
    groups: Sequence[int]
    folds: Sequence[int]
    rows: sparse.csr_matrix
    traits: Sequence[int]
    spam: np.ndarray
    corpus: np.ndarray


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights by trait, and the bias."""

    weights: dict[int, float]
    bias: float


def design(examples: Sequence[Example]) -> Design:
    groups = near_copies(examples)
    column: dict[int, int] = {}
    starts, places, values = [0], [], []
    for each in examples:
        for traits, say in ((each.traits.words, WORD_SAY), (each.traits.others, OTHER_SAY)):
            value = say / math.sqrt(len(traits) + STEADY)
            places += [column.setdefault(trait, len(column)) for trait in traits]
            values += [value] * len(traits)
        starts.append(len(places))
    rows = sparse.csr_matrix((values, places, starts), shape=(len(examples), len(column)))
    spam = np.array([each.spam for each in examples])
    corpus = np.array([each.corpus for each in examples])
    return Design(examples, groups, folds_of(groups), rows, list(column), spam, corpus)


def fit(made: Design, chosen: np.ndarray) -> Fit:
    """Learn from the chosen rows, nothing else: which traits count is settled among them too."""
    columns = _known_in_several(made, chosen)
    machine = LogisticRegression(C=INVERSE_PENALTY, max_iter=400, solver="liblinear")
    machine.fit(made.rows[chosen][:, columns], made.spam[chosen], sample_weight=_weights(made, chosen))
    weights = {made.traits[n]: float(weight) for n, weight in zip(columns, machine.coef_[0], strict=True)}
    return Fit(weights, float(machine.intercept_[0]))


def scores(made: Design, fitted: Fit, chosen: np.ndarray) -> np.ndarray:
    weights = np.array([fitted.weights.get(trait, 0.0) for trait in made.traits])
    return made.rows[chosen] @ weights + fitted.bias


def _known_in_several(made: Design, chosen: np.ndarray) -> np.ndarray:
    met = np.zeros(made.rows.shape[1])
    groups = np.array(made.groups)
    for corpus in np.unique(made.corpus[chosen]):
        inside = chosen[made.corpus[chosen] == corpus]
        _, first = np.unique(groups[inside], return_index=True)  # one of each group of near-copies
        met += made.rows[inside[first]].getnnz(axis=0) >= LEAST
    return np.flatnonzero(met >= CORPORA_LEAST)


def _weights(made: Design, chosen: np.ndarray) -> np.ndarray:
    """Each corpus' spam and ham counts as the root of how much of it there is; modern ham six times that root."""
    counts = Counter(zip(made.corpus[chosen], made.spam[chosen], strict=True))
    weights = np.array([1 / math.sqrt(counts[key]) for key in zip(made.corpus[chosen], made.spam[chosen], strict=True)])
    weights[made.corpus[chosen] == MADE] *= MADE_SAY
    weights[(made.corpus[chosen] == MODERN_HAM) & ~made.spam[chosen]] *= math.sqrt(6)
    return weights * (len(chosen) / weights.sum())


# -- scores of mail that was not learned from


def across_folds(made: Design) -> np.ndarray:
    """Each message scored by a model of the other four folds."""
    folds = np.array(made.folds)
    found = np.zeros(len(made.examples))
    for fold in range(5):
        out = np.flatnonzero(folds == fold)
        found[out] = scores(made, fit(made, np.flatnonzero(folds != fold)), out)
    return found


def across_corpora(made: Design, tell: Callable[[str], None] = lambda _: None) -> np.ndarray:
    """Each message scored by a model that has seen nothing of its corpus."""
    found = np.zeros(len(made.examples))
    for corpus in np.unique(made.corpus):
        tell(f"without {corpus}")
        out = np.flatnonzero(made.corpus == corpus)
        found[out] = scores(made, fit(made, np.flatnonzero(made.corpus != corpus)), out)
    return found


def calibrate(made: Design, unseen: Sequence[np.ndarray]) -> tuple[float, float]:
    """Slope and offset that make log-odds of scores: a logistic curve through scores of mail not learned from."""
    ones = np.arange(len(made.examples))
    keep = made.corpus != MADE
    weights = np.concatenate([_weights(made, ones[keep])] * len(unseen))
    scored = np.concatenate([each[keep] for each in unseen])
    spam = np.concatenate([made.spam[keep]] * len(unseen))
    curve = LogisticRegression(C=1e6, max_iter=400).fit(scored[:, None], spam, sample_weight=weights)
    return float(curve.coef_[0][0]), float(curve.intercept_[0])


def packed(fitted: Fit, slope: float, offset: float, learned: tuple[Learned, ...]) -> bytes:
    """The model's file."""
    places: dict[int, list[float]] = {}
    for trait, weight in fitted.weights.items():
        places.setdefault(trait & ((1 << BITS) - 1), []).append(weight)
    merged = {place: sum(weights) / len(weights) for place, weights in places.items()}
    largest = max(map(abs, merged.values()))
    octets = bytearray(1 << BITS)
    for place, weight in merged.items():
        octets[place] = octet_of(weight, largest)
    card = Card(
        bits=BITS,
        largest=largest,
        bias=fitted.bias,
        word_say=WORD_SAY,
        other_say=OTHER_SAY,
        steady=STEADY,
        slope=slope,
        offset=offset,
        strange=STRANGE,
        familiar=FAMILIAR,
        fewest=FEWEST,
        learned=learned,
    )
    return written(card, bytes(octets))


STRANGE, FAMILIAR, FEWEST = 0.15, 0.45, 12
"""Shares of known words between which the model begins to know, and how many of a message's traits it must have met."""


def model_of(octets: bytes) -> Model:
    return read_model(octets)
