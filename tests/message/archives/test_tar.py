import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.member import Budget, LeftOut, Limits, Opened, Trait
from gatekeeper.message.archives.tar import read_tar


def tarred(names: list[str], form: int = tarfile.USTAR_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        for name in names:
            told = tarfile.TarInfo(name)
            told.size = 5
            archive.addfile(told, io.BytesIO(b"hello"))
    return made.getvalue()


def read(octets: bytes) -> Opened:
    return read_tar(memoryview(octets), Budget())


def test_files_are_listed_and_read():
    opened = read(tarred(["a", "d/b.exe"]))
    assert [member.name for member in opened.members] == ["a", "d/b.exe"]
    assert opened.members[1].read is not None
    assert opened.members[1].read(99) == b"hello"
    assert not opened.traits


def test_long_names_are_read_in_both_ways():
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        name = "x/" * 120 + "b.exe"
        assert [member.name for member in read(tarred([name], form)).members] == [name]


def test_what_breaks_off_is_broken():
    assert Trait.BROKEN in read(tarred(["a"])[:514]).traits
    assert Trait.BROKEN in read(b"x" * 600).traits


@pytest.mark.parametrize("size", [b"-00000001000", b"+00000001000", b"0_0000001000", b"\xff" * 12])
@pytest.mark.parametrize("kind", [b"g", b"0"])
def test_a_size_that_is_none_ends_it(size, kind):
    header = bytearray(tarred(["a"])[:512])
    header[124:136], header[156:157] = size, kind
    opened = read(bytes(header) * 4)
    assert not opened.members
    assert Trait.BROKEN in opened.traits


def test_headers_without_members_are_charged():
    header = bytearray(tarred(["a"])[:512])
    header[124:136], header[156:157] = b"0" * 12, b"g"
    budget = Budget(Limits(steps=5))
    read_tar(memoryview(bytes(header) * 9 + tarred(["a"])), budget)
    assert budget.steps == 6
    assert set(budget.left_out) == {LeftOut.MEMBERS}


def test_records_of_a_name_are_charged():
    records = b"3 \n" * 1000
    header = bytearray(tarred(["a"])[:512])
    header[124:136], header[156:157] = b"%012o" % len(records), b"x"
    budget = Budget(Limits(steps=100))
    read_tar(memoryview(bytes(header) + records), budget)
    assert budget.steps == 101
    assert set(budget.left_out) == {LeftOut.MEMBERS}


@given(st.binary(max_size=700), st.integers(0, 600))
def test_any_octets_are_read(octets, at):
    whole = tarred(["a", "b"])
    for each in (octets, whole[:at] + octets + whole[at + len(octets) :]):
        for member in read(each).members:
            assert member.read is not None
            member.read(10)
