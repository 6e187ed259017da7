"""How lessons are written in Redis; tests/peers/test_redis.py has what all backends do alike."""

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.store.base import LESSONS, TRAITS, Learned, Lesson
from gatekeeper.store.redis_lessons import changes, counted, read, written

SOME = st.sets(st.integers(0, 2**32 - 1), max_size=50).map(lambda some: tuple(sorted(some)))


@given(st.booleans(), SOME, st.text(), st.floats(0, 1e10))
def test_what_was_written_is_read_again(spam, traits, text, until):
    lesson = Lesson("k", "a", spam, traits, text, until)
    assert read("k", b"a", written(lesson)) == lesson


def test_only_what_changes_is_told():
    old, new = Lesson("k", "a", True, (1, 2), "", 0.0), Lesson("k", "a", True, (2, 3), "", 0.0)
    assert changes(old, new) == [1, -(1 << 24), 3, 1 << 24]
    assert changes(None, None) == changes(old, old) == []


def test_both_counts_stand_in_one_number():
    total = dict.fromkeys((LESSONS, TRAITS, 1, 2, 3), 0)
    for spam in (True, True, False):
        parts = iter(changes(None, Lesson("k", "a", spam, (1,) if spam else (1, 2), "", 0.0)))
        for trait, change in zip(parts, parts, strict=True):
            total[trait] += int(change)
    values = [b"%d" % number if number else None for number in total.values()]
    assert counted(list(total), values) == Learned(1, 2, 2, 2, {1: (1, 2), 2: (1, 0)})
