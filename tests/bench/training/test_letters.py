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
