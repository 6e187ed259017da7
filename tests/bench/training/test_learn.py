from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.training import learn
from bench.training.corpora import Example, examples
from bench.training.tables import area
from tests.support.labelled import write_labelled


@pytest.fixture
def found(tmp_path: Path) -> list[Example]:
    return examples(write_labelled(tmp_path))


def test_spam_is_told_from_ham_that_was_not_learned_from(found: list[Example]):
    made = learn.design(found)
    for scored in (learn.across_folds(made), learn.across_corpora(made)):
        assert area(scored[made.spam], scored[~made.spam]) > 0.9


@pytest.mark.parametrize("scheme", ["folds", "corpora"])
def test_what_is_held_back_says_nothing_of_how_it_is_scored(found: list[Example], scheme: str):
    made = learn.design(found)
    across = learn.across_folds if scheme == "folds" else learn.across_corpora
    held = np.array(made.folds) == 2 if scheme == "folds" else made.corpus == "west"
    # Its labels turned round: whoever had looked at them would score it otherwise.
    turned = replace(made, spam=np.where(held, ~made.spam, made.spam))
    assert across(turned)[held] == pytest.approx(across(made)[held])
    assert across(turned)[~held] != pytest.approx(across(made)[~held])


def test_what_one_corpus_alone_is_about_is_not_learned(found: list[Example]):
    made = learn.design(found)
    fitted = learn.fit(made, np.arange(len(found)))
    met = [
        {each.corpus for each in found if trait in {*each.traits.words, *each.traits.others}}
        for trait in fitted.weights
    ]
    assert min(map(len, met)) >= learn.CORPORA_LEAST


def test_the_file_of_a_model_says_what_was_learned(found: list[Example]):
    made = learn.design(found)
    fitted = learn.fit(made, np.arange(len(found)))
    slope, offset = learn.calibrate(made, [learn.across_folds(made)])
    assert slope > 0
    model = learn.model_of(learn.packed(fitted, slope, offset, ()))
    # One octet for each weight: the order of scores stays, and they lie close together.
    ours = learn.scores(made, fitted, np.arange(len(found)))
    theirs = np.array([model.opinion(each.traits, 0).log_odds for each in found])
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    assert theirs == pytest.approx(slope * ours + offset, abs=0.5)
