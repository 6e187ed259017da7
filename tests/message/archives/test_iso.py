import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.iso import read_iso
from gatekeeper.message.archives.member import Budget
from tests.support.archives import iso


@pytest.mark.parametrize("joliet", [True, False])
def test_files_are_listed_and_read(joliet):
    opened = read_iso(memoryview(iso({"A.TXT": b"hello", "B.EXE": b"MZ"}, joliet=joliet)), Budget())
    assert [member.name for member in opened.members] == ["A.TXT", "B.EXE"]
    assert opened.members[0].read is not None
    assert opened.members[0].read(99) == b"hello"


def test_an_image_of_another_kind_has_no_files():
    assert read_iso(memoryview(bytes(40_000)), Budget()).members == []


@given(st.binary(max_size=80), st.integers(16 * 2048, 20 * 2048))
def test_any_octets_are_read(octets, at):
    whole = iso({"A": b"hello"})
    for member in read_iso(memoryview(whole[:at] + octets + whole[at + len(octets) :]), Budget()).members:
        assert member.read is not None
        member.read(10)
