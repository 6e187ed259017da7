from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.training import household
from bench.training.corpora import Example, examples
from bench.training.household import HOUSEHOLD, Judged, after_lessons, blamed, judge, settings
from tests.support.labelled import EACH, write_labelled
from tests.support.lessons import OFFER


def of_one(where: Path) -> list[Example]:
    return [each for each in examples(where) if each.corpus == HOUSEHOLD]


def test_only_what_needs_the_message_alone_is_asked():
    assert {each.name for each in settings().checks} == set(household.CONTENT)


async def test_each_message_is_judged_and_its_points_add_up(tmp_path: Path):
    where = write_labelled(tmp_path)
    judged = await judge(of_one(where), where)
    assert [each.example for each in judged] == of_one(where)
    for each in judged:
        assert each.score == pytest.approx(sum(points for _, points in each.worth))
        assert each.tagged == (each.score >= 5.0)
        assert each.rejected == (each.score >= 10.0)


async def test_who_was_taught_what_is_spam_here_scores_it_higher(tmp_path: Path):
    where = write_labelled(tmp_path)
    mail = of_one(where)
    untaught = await judge(mail[:3], where)
    taught = await judge(mail[:3], where, mail[3:])
    assert all(each.example.spam for each in taught)
    assert all(after.score > before.score for before, after in zip(untaught, taught, strict=True))


async def test_nobody_is_taught_the_message_that_is_judged_nor_a_copy_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    where = write_labelled(tmp_path)
    mail = of_one(where)
    twins = mail[:5]  # once more, under the same digest
    asked: list[str] = []

    async def note(some: Sequence[Example], _: Path, lessons: Sequence[Example] = ()) -> list[Judged]:
        assert len(lessons) == 10
        assert {each.digest for each in some}.isdisjoint(each.digest for each in lessons)
        asked.extend(each.path for each in some)
        return []

    monkeypatch.setattr(household, "judge", note)
    await after_lessons([*mail, *twins], where, count=10)
    assert sorted(asked) == sorted(each.path for each in [*mail, *twins])
    assert len(asked) == 2 * EACH + 5


def test_who_is_to_blame_is_told_by_rule_and_without_a_word_of_the_mail(tmp_path: Path):
    where = write_labelled(tmp_path)
    ham = next(each for each in of_one(where) if not each.spam)
    spam = next(each for each in of_one(where) if each.spam)
    worth = (("LINK_ODD", 3.0), ("SUBJECT_ODD", 2.5), ("KNOWN_LIST", -0.5))
    said: list[str] = []
    blamed([Judged(ham, 5.0, True, False, worth), Judged(spam, 5.0, True, False, worth)], said.append)
    assert said == [
        "wanted and marked, 5: LINK_ODD 3, SUBJECT_ODD 2.5, KNOWN_LIST -0.5",
        "wanted and marked: 1; by rule: {'LINK_ODD': 1, 'SUBJECT_ODD': 1}",
    ]
    assert not any(word in " ".join(said) for word in OFFER.split())
