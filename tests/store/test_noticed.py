"""A change counts as noticed by all when twice as long has gone by as anybody goes without looking."""

from gatekeeper.store.noticed import UNNOTICED, Noticed


def test_a_change_counts_when_everybody_must_have_looked_since():
    noticed = Noticed()
    assert noticed.by_all(5, 0.0) == -1
    assert noticed.by_all(7, 2 * UNNOTICED - 1) == -1
    assert noticed.by_all(7, 2 * UNNOTICED) == 5
    assert noticed.by_all(9, 2 * UNNOTICED + 1) == 5
    assert noticed.by_all(9, 4 * UNNOTICED) == 7


def test_of_a_store_that_counts_anew_nothing_is_noticed_yet():
    noticed = Noticed()
    for turn in range(3):
        noticed.by_all(1000, turn * 2 * UNNOTICED)
    assert noticed.by_all(3, 4 * UNNOTICED + 1) == -1
    assert noticed.by_all(4, 6 * UNNOTICED) == -1
    assert noticed.by_all(4, 6 * UNNOTICED + 1) == 3
