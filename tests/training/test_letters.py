from bench.training.corpora import folds_of, made, near_copies
from bench.training.letters import letters
from gatekeeper.classifier.traits import traits_of
from gatekeeper.message.content import content_of
from gatekeeper.message.reading import read_message


def test_letters_are_the_same_each_time_and_of_both_kinds():
    once = list(letters(30))
    assert [each.octets for each in once] == [each.octets for each in letters(30)]
    assert sum(each.spam for each in once) == 30


def test_letters_are_sound_mail():
    for letter in letters(30):
        message = read_message(letter.octets)
        assert not content_of(message).mime.ambiguous
        assert len(traits_of(message).words) > 5


def test_near_copies_are_in_one_group_and_one_fold():
    few = made(4)
    groups = near_copies([*few, *few])
    assert groups[: len(few)] == groups[len(few) :]
    folds = folds_of(groups)
    assert folds[: len(few)] == folds[len(few) :]
