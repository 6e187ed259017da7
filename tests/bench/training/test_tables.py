from bench.training import tables
from bench.training.corpora import Example
from bench.training.household import HOUSEHOLD, Judged
from bench.training.tables import Share, area, area_interval
from gatekeeper.classifier.traits import Traits


def example(n: int, corpus: str, *, spam: bool, measured: bool = True) -> Example:
    return Example(f"{corpus}/{n}", corpus, spam, measured, f"{corpus}{n}{spam}", Traits((), ()))


def test_intervals_are_those_of_the_books():
    assert [round(each, 1) for each in Share(0, 97).interval] == [0.0, 3.8]
    assert [round(each, 1) for each in Share(5, 10).interval] == [23.7, 76.3]
    assert str(Share(97, 97)) == "100.0 (96 to 100; 97 of 97)"


def test_the_area_counts_a_tie_as_one_half():
    assert area([3, 4], [1, 2]) == 1.0
    assert area([1, 1], [1, 1]) == 0.5
    assert area([2, 0], [1]) == 0.5
    low, high = area_interval(0.9, 100, 100)
    assert low < 0.9 < high <= 1.0


def test_the_threshold_is_set_by_ham_and_strictly_above_it_counts():
    ham = [example(n, "old", spam=False) for n in range(200)]
    spam = [example(n, "old", spam=True) for n in range(4)] + [example(n, "new", spam=True) for n in range(2)]
    # One ham message of 200 may reach it: what is above the second highest (8.0) is caught.
    scored = [9.0, 8.0, *[0.0] * 198, 8.0, 8.5, 9.0, 9.5, 10.0, 7.0]
    lines = tables.caught([*ham, *spam], {"it": scored})
    assert lines[0].endswith("| filter | mean | new | old |")
    loose, strict = (line.split(" | ") for line in lines[2:4])
    assert loose[:4] == ["| every message", "1 of 200", "0", "it"]
    assert loose[4].startswith("**62.5**")
    assert loose[5:] == ["50.0 (9 to 91; 1 of 2)", "75.0 (30 to 95; 3 of 4) |"]
    assert strict[1] == "0 of 200"
    assert strict[5:] == ["50.0 (9 to 91; 1 of 2)", "25.0 (5 to 70; 1 of 4) |"]


def test_modern_ham_that_is_let_through_is_told_and_the_even_sample_is_apart():
    ham = [example(n, "old", spam=False, measured=False) for n in range(300)]
    ham += [example(n, HOUSEHOLD, spam=False) for n in range(200)]
    spam = [example(n, HOUSEHOLD, spam=True) for n in range(2)]
    scored = [*[0.0] * 300, *map(float, range(200)), 198.5, 1000.0]
    rows = [line.split(" | ")[:4] for line in tables.caught([*ham, *spam], {"it": scored})[2:]]
    assert rows == [
        ["| every message", "2 of 500", "2", "it"],
        ["| every message", "0 of 500", "0", "it"],
        ["| even sample", "1 of 200", "1", "it"],
        ["| even sample", "0 of 200", "0", "it"],
    ]
    assert tables.modern([*ham, *spam], {"it": scored})[2].startswith("| it | 0.998 (")


def test_what_became_of_a_household_s_mail_is_counted():
    ham = [Judged(example(n, HOUSEHOLD, spam=False), 1.0, n == 0, False, ()) for n in range(4)]
    spam = [Judged(example(n, HOUSEHOLD, spam=True), 9.0, True, n == 0, ()) for n in range(2)]
    (line,) = tables.household({"it": [*ham, *spam]})[2:]
    assert [each.strip().split(" ")[0] for each in line.split("|")[1:-1]] == [
        "it",
        "25.0",
        "0.0",
        "100.0",
        "50.0",
        "1.000",
    ]
