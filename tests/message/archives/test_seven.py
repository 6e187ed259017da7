from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.member import Budget, Opened, Trait
from gatekeeper.message.archives.seven import read_seven
from tests.support.archives import seven


def read(octets: bytes) -> Opened:
    return read_seven(memoryview(octets), Budget())


def test_names_are_listed():
    opened = read(seven(["a.txt", "d/ü.exe"]))
    assert [member.name for member in opened.members] == ["a.txt", "d/ü.exe"]
    assert not opened.traits


def test_passwords_are_seen():
    assert [member.traits for member in read(seven(["a"], locked=True)).members] == [(Trait.ENCRYPTED,)]
    assert set(read(seven(["a"], hidden=True)).traits) == {Trait.ENCRYPTED, Trait.NAMES_HIDDEN}


def test_what_breaks_off_is_broken():
    assert Trait.BROKEN in read(seven(["a"])[:-3]).traits
    assert Trait.BROKEN in read(b"7z\xbc\xaf\x27\x1c").traits


@given(st.binary(max_size=40), st.integers(0, 120))
def test_any_octets_are_read(octets, at):
    whole = seven(["a", "b"])
    for each in (octets, whole[:32] + octets, whole[:at] + octets + whole[at + len(octets) :]):
        read(each)
