import bz2
import gzip
import io
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.member import Budget, Trait
from gatekeeper.message.archives.streams import PROBED_TWICE, read_stream
from gatekeeper.message.filetypes import FileType

PACKERS = [(FileType.GZIP, gzip.compress), (FileType.BZIP2, bz2.compress), (FileType.XZ, lzma.compress)]


@pytest.mark.parametrize(("filetype", "pack"), PACKERS)
def test_what_is_inside_can_be_read_from_the_start_each_time(filetype, pack):
    opened = read_stream(memoryview(pack(b"hello" * 100)), filetype, "a.bin", Budget())
    assert not opened.traits
    [member] = opened.members
    assert member.read is not None
    assert member.read(5) == member.read(5) == b"hello"
    assert len(member.read(10_000)) == 500


@pytest.mark.parametrize(("filetype", "pack"), PACKERS)
def test_a_bomb_is_known_by_its_beginning(filetype, pack):
    budget = Budget()
    assert Trait.RATIO in read_stream(memoryview(pack(bytes(PROBED_TWICE + 9))), filetype, "a", budget).traits
    assert budget.unpacked < 2 * PROBED_TWICE


@pytest.mark.parametrize(("filetype", "pack"), PACKERS)
def test_what_breaks_off_is_broken(filetype, pack):
    octets = pack(bytes(range(256)) * 9)
    assert Trait.BROKEN in read_stream(memoryview(octets[:-20]), filetype, "a", Budget()).traits


@pytest.mark.parametrize(
    ("name", "inner"), [("a.tgz", "a.tar"), ("a.exe.gz", "a.exe"), ("a", "a"), ("a.txz", "a.tar"), ("gz", "gz")]
)
def test_the_name_inside_is_told_by_the_name_outside(name, inner):
    assert read_stream(memoryview(gzip.compress(b"x")), FileType.GZIP, name, Budget()).members[0].name == inner


def test_gzip_keeps_the_name_of_the_file():
    made = io.BytesIO()
    with gzip.GzipFile("evil.exe", "wb", fileobj=made) as file:
        file.write(b"x")
    assert read_stream(memoryview(made.getvalue()), FileType.GZIP, "a.gz", Budget()).members[0].name == "evil.exe"


@given(st.sampled_from(PACKERS), st.binary(max_size=300), st.integers(0, 40))
def test_any_octets_are_read(packer, octets, cut):
    filetype, pack = packer
    for each in (octets, pack(octets)[cut:], pack(octets)[:cut] + octets):
        for member in read_stream(memoryview(each), filetype, "a", Budget()).members:
            assert member.read is not None
            member.read(100)
