import math

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.classifier.opinion import MOST, Opinion, combine, probability

_odds = st.floats(-40, 40) | st.just(math.nan)
_opinions = st.none() | st.builds(Opinion, _odds, trust=st.floats(0, 1), known=st.floats(0, 1))


def test_nobody_knowing_anything_is_no_opinion():
    assert combine(None, None) is None


def test_a_shipped_model_alone_is_believed_as_far_as_it_knows_such_mail():
    whole, half = combine(Opinion(4.0, 1.0, 1.0), None), combine(Opinion(4.0, 0.5, 1.0), None)
    assert whole is not None
    assert half is not None
    assert (whole.log_odds, half.log_odds) == (4.0, 2.0)
    assert (whole.shipped, whole.site) == (4.0, None)


def test_a_site_that_has_learned_enough_overrules_the_shipped_model():
    both = combine(Opinion(3.0, 1.0, 1.0), Opinion(-3.0, 1.0, 1.0))
    assert both is not None
    assert both.log_odds < -2


def test_a_site_that_has_learned_little_moves_little():
    both = combine(Opinion(3.0, 1.0, 1.0), Opinion(-3.0, 0.1, 1.0))
    assert both is not None
    assert both.log_odds > 2


@given(_opinions, _opinions)
def test_the_parts_are_the_sum_and_the_sum_is_bounded(shipped, site):
    both = combine(shipped, site)
    if both is None:
        assert shipped is None
        assert site is None
        return
    assert math.isclose(both.log_odds, (both.shipped or 0.0) + (both.site or 0.0), abs_tol=1e-9)
    assert abs(both.log_odds) <= MOST
    assert 0.0 < probability(both.log_odds) < 1.0
