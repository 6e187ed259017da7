import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.member import Budget, LeftOut, Limits, Opened, Trait
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


@pytest.mark.parametrize(
    "streams",
    [
        b"\6\0" + b"\xa7\x10" + (b"\x0a\0" + bytes(1250)) * 30,  # digests of 10,000 that have none
        b"\6\0" + b"\xa7\x10" + b"\x09" + bytes(10_000) + b"\x09" + bytes(10_000),
        b"\7\x0b\xa7\x10\0" + b"\1\1\0" * 10_000 + b"\x0c" + bytes(10_000) + b"\0" + b"\x08\0" * 100,
        b"\5\0" + b"\x19\0" * 40_000,
    ],
)
def test_what_a_list_repeats_is_charged(streams):
    kind = b"" if streams[:1] == b"\5" else b"\4"
    told = b"\1" + kind + streams
    octets = b"7z\xbc\xaf\x27\x1c\0\4" + bytes(4) + bytes(8) + len(told).to_bytes(8, "little") + bytes(4) + told
    budget = Budget(Limits(steps=15_000))
    read_seven(memoryview(octets), budget)
    assert set(budget.left_out) == {LeftOut.MEMBERS}


@given(st.binary(max_size=40), st.integers(0, 120))
def test_any_octets_are_read(octets, at):
    whole = seven(["a", "b"])
    for each in (octets, whole[:32] + octets, whole[:at] + octets + whole[at + len(octets) :]):
        read(each)
