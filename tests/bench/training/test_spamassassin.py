from pathlib import Path

import pytest

from bench.training.corpora import Example, examples
from bench.training.spamassassin import Ended, Kept, Scorer, Scores, add_up
from tests.support.fake_spamassassin import FakeSpamAssassin
from tests.support.labelled import write_labelled


@pytest.fixture
def where(tmp_path: Path) -> Path:
    return write_labelled(tmp_path)


def schemes(found: list[Example]) -> dict[str, list[object]]:
    return {"folds": [n % 5 for n in range(len(found))], "corpora": [each.corpus for each in found]}


def score(where: Path, fake: FakeSpamAssassin) -> Scores:
    found = examples(where)
    files = [where / each.path for each in found]
    return Scorer(found, files, where.parent / "kept", process=fake).scores(schemes(found))


def test_what_is_asked_was_learned_from_all_other_parts_and_from_none_of_its_own(where: Path):
    found, fake = examples(where), FakeSpamAssassin()
    scored = score(where, fake)
    by_file = {str(where / each.path): n for n, each in enumerate(found)}
    judged = {(by_file[file], frozenset(map(by_file.__getitem__, learned))) for file, learned in fake.judged}
    every = range(len(found))
    expected = {
        (n, frozenset(k for k in every if parts[k] != parts[n])) for parts in schemes(found).values() for n in every
    }
    assert judged == expected
    for name, parts in schemes(found).items():
        for n, each in enumerate(found):
            others = sum(part != parts[n] for part in parts)
            assert scored.by_scheme[name][n] == pytest.approx((where / each.path).stat().st_size / 1000 + others)


def test_rules_are_looked_for_and_messages_learned_once(where: Path):
    fake = FakeSpamAssassin()
    score(where, fake)
    assert fake.count("rules") == fake.count("learn") == len(examples(where))


def test_a_second_run_asks_nothing_anew_and_says_the_same(where: Path):
    first, again = FakeSpamAssassin(), FakeSpamAssassin()
    once = score(where, first)
    assert score(where, again) == once
    assert again.lines == ["named"]
    assert once.spent > 0


@pytest.mark.parametrize("lines", [50, 150, 250])
def test_a_run_that_was_cut_short_goes_on_and_says_the_same(where: Path, lines: int):
    with pytest.raises(Ended):
        score(where, FakeSpamAssassin(ends_after=lines))
    after, whole = FakeSpamAssassin(), FakeSpamAssassin()
    scored = score(where, after)
    (where.parent / "kept").rename(where.parent / "elsewhere")
    assert score(where, whole).by_scheme == scored.by_scheme
    assert len(after.lines) < len(whole.lines)


def test_other_mail_is_learned_anew(where: Path):
    score(where, FakeSpamAssassin())
    changed = where / examples(where)[0].path
    changed.write_bytes(changed.read_bytes() + b"One line more.\r\n")
    fake = FakeSpamAssassin()
    score(where, fake)
    assert fake.count("rules") == 1
    assert fake.count("bayes") > 0
    assert any(line.startswith("learn") and str(changed) in line for line in fake.lines)


def test_it_is_an_error_where_spamassassin_itself_says_something_else(where: Path):
    with pytest.raises(Ended, match="SpamAssassin says"):
        score(where, FakeSpamAssassin(off=0.5))


def test_a_score_that_was_half_written_is_not_believed(tmp_path: Path):
    file = tmp_path / "scores"
    file.write_text("a\t1.5\nb\t-2.25\nc\t1")
    kept = Kept(file)
    assert kept.known == {"a": 1.5, "b": -2.25}
    kept.fill(["c"], iter([17.5]))
    assert Kept(file).known == {"a": 1.5, "b": -2.25, "c": 17.5}


def test_counts_of_what_was_learned_add_up(tmp_path: Path):
    one, other, total = tmp_path / "one", tmp_path / "other", tmp_path / "total"
    head = "v\t3\tdb_version # this must be the first line!!!\n"
    one.write_text(head + "v\t2\tnum_spam\nv\t1\tnum_nonspam\nt\t2\t0\t100\taa\nt\t0\t1\t90\tbb\ns\ts\tx\n")
    other.write_text(head + "v\t1\tnum_spam\nv\t4\tnum_nonspam\nt\t1\t3\t80\taa\nt\t0\t1\t95\tcc\ns\th\ty\n")
    add_up([one, other], total)
    assert total.read_text().splitlines() == [
        head.rstrip(),
        "v\t3\tnum_spam",
        "v\t5\tnum_nonspam",
        "t\t3\t3\t100\taa",
        "t\t0\t1\t90\tbb",
        "t\t0\t1\t95\tcc",
        "s\ts\tx",
        "s\th\ty",
    ]
