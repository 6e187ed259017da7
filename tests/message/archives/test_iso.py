import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.iso import read_iso
from gatekeeper.message.archives.member import Budget, LeftOut, Limits
from tests.support.archives import _descriptor, _record, iso


@pytest.mark.parametrize("joliet", [True, False])
def test_files_are_listed_and_read(joliet):
    opened = read_iso(memoryview(iso({"A.TXT": b"hello", "B.EXE": b"MZ"}, joliet=joliet)), Budget())
    assert [member.name for member in opened.members] == ["A.TXT", "B.EXE"]
    assert opened.members[0].read is not None
    assert opened.members[0].read(99) == b"hello"


def test_an_image_of_another_kind_has_no_files():
    assert read_iso(memoryview(bytes(40_000)), Budget()).members == []


def test_directories_over_the_same_sectors_end_with_the_budget():
    sectors = [bytearray(2048) for _ in range(16)]
    sectors.append(bytearray(_descriptor(1, _record(b"\0", 18, 2048, folder=True), b"")))
    sectors.append(bytearray(b"\xffCD001".ljust(2048, b"\0")))
    sectors.append(
        bytearray(b"".join(_record(b"D%d" % n, 19 + n, 40_000, folder=True) for n in range(20)).ljust(2048, b"\0"))
    )
    sectors += [bytearray((_record(b"\0", 18, 2048) * 60).ljust(2048, b"\0")) for _ in range(40)]
    budget = Budget(Limits(steps=2000))
    read_iso(memoryview(b"".join(sectors)), budget)
    assert budget.steps == 2001
    assert set(budget.left_out) == {LeftOut.MEMBERS}


@given(st.binary(max_size=80), st.integers(16 * 2048, 20 * 2048))
def test_any_octets_are_read(octets, at):
    whole = iso({"A": b"hello"})
    for member in read_iso(memoryview(whole[:at] + octets + whole[at + len(octets) :]), Budget()).members:
        assert member.read is not None
        member.read(10)
