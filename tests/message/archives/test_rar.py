import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.member import Budget, LeftOut, Limits, Opened, Trait
from gatekeeper.message.archives.rar import read_rar
from tests.support.archives import _block5, _vint, rar4, rar5


def read(octets: bytes) -> Opened:
    return read_rar(memoryview(octets), Budget())


@pytest.mark.parametrize("make", [rar4, rar5])
def test_names_are_listed_and_what_is_stored_can_be_read(make):
    opened = read(make(["a.txt", "d/ü.exe"]))
    assert [member.name for member in opened.members] == ["a.txt", "d/ü.exe"]
    assert opened.members[0].read is not None
    assert opened.members[0].read(99) == b"hello"
    assert not opened.traits


@pytest.mark.parametrize("make", [rar4, rar5])
def test_passwords_are_seen(make):
    assert [member.traits for member in read(make(["a"], locked=True)).members] == [(Trait.ENCRYPTED,)]
    assert set(read(make(["a"], hidden=True)).traits) == {Trait.ENCRYPTED, Trait.NAMES_HIDDEN}


@pytest.mark.parametrize("make", [rar4, rar5])
def test_what_breaks_off_is_broken_and_what_claims_to_be_enormous_is_a_bomb(make):
    assert Trait.BROKEN in read(make(["a"])[:30]).traits
    assert Trait.RATIO in read(make(["a"], size=1_000_000_000)).traits


def test_records_without_names_are_charged():
    five = b"Rar!\x1a\x07\x01\x00"
    extra = b"\1\2" * 5000
    header = b"\2\1" + _vint(len(extra)) + b"\0\1\0\0\0\1x" + extra
    archives = [
        five + _block5(header),
        five + _block5(b"\3\0") * 500,
        b"Rar!\x1a\x07\x00" + struct.pack("<HBHH", 0, 0x75, 0, 7) * 500,
    ]
    for archive in archives:
        budget = Budget(Limits(steps=100))
        read_rar(memoryview(archive), budget)
        assert budget.steps == 101
        assert set(budget.left_out) == {LeftOut.MEMBERS}


@given(st.sampled_from([rar4(["a"]), rar5(["a", "b"], locked=True)]), st.binary(max_size=40), st.integers(0, 80))
def test_any_octets_are_read(whole, octets, at):
    for each in (octets, whole[:8] + octets, whole[:at] + octets + whole[at + len(octets) :]):
        for member in read(each).members:
            if member.read is not None:
                member.read(10)
