from pathlib import Path

import pytest

from bench.training.corpora import digests, examples, folds_of, made, near_copies
from bench.training.household import HOUSEHOLD
from tests.support.labelled import CORPORA, EACH, write_labelled


def test_every_message_that_is_listed_is_read_with_what_is_known_of_it(tmp_path: Path):
    found = examples(write_labelled(tmp_path))
    assert len(found) == 2 * EACH * len(CORPORA)
    first = found[0]
    assert (first.path, first.corpus, first.spam, first.measured) == ("north/spam/00.eml", "north", True, True)
    assert first.sender == "a@sender.example"
    assert sum(each.measured for each in found) == 2 * (EACH - EACH // 3) * len(CORPORA)
    assert {each.spam for each in found if each.corpus == HOUSEHOLD} == {True, False}


def test_a_table_of_four_columns_is_enough(tmp_path: Path):
    where = write_labelled(tmp_path)
    table = where.with_name("mail.tsv")
    rows = [line.split("\t")[:4] for line in table.read_text().splitlines()]
    table.write_text("".join("\t".join(row) + "\n" for row in rows))
    assert {each.sender for each in examples(where)} == {""}


def test_without_mail_it_is_said_what_to_fetch(tmp_path: Path):
    with pytest.raises(SystemExit, match=r"mail\.tsv is not there(.|\n)*make model CORPORA=DIR"):
        examples(tmp_path / "mail")


def test_near_copies_are_in_one_group_and_one_fold():
    few = made(4)
    groups = near_copies([*few, *few])
    assert groups[: len(few)] == groups[len(few) :]
    folds = folds_of(groups)
    assert folds[: len(few)] == folds[len(few) :]


def test_messages_that_share_little_are_no_near_copies(tmp_path: Path):
    found = examples(write_labelled(tmp_path))
    groups = near_copies(found)
    assert len(set(groups)) == len(found)
    assert sorted(set(folds_of(groups))) == [0, 1, 2, 3, 4]
    assert folds_of(groups) == folds_of(groups)


def test_a_digest_is_that_of_the_messages_whatever_their_order(tmp_path: Path):
    found = examples(write_labelled(tmp_path))
    once = list(digests(found))
    assert once == list(digests(reversed(found)))
    assert [(corpus, label, count) for corpus, label, count, _ in once][:2] == [
        (HOUSEHOLD, "ham", EACH),
        (HOUSEHOLD, "spam", EACH),
    ]
    assert once != list(digests(found[1:]))
