from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.cab import read_cab
from gatekeeper.message.archives.member import Budget, Trait
from tests.support.archives import cabinet


def test_names_are_listed():
    assert [m.name for m in read_cab(memoryview(cabinet(["a.txt", "ü.exe"])), Budget()).members] == ["a.txt", "ü.exe"]


def test_what_breaks_off_is_broken():
    for cut in (10, 40):
        assert Trait.BROKEN in read_cab(memoryview(cabinet(["a.txt"])[:cut]), Budget()).traits


@given(st.binary(max_size=80), st.integers(0, 60))
def test_any_octets_are_read(octets, at):
    whole = cabinet(["a", "b"])
    read_cab(memoryview(octets), Budget())
    read_cab(memoryview(whole[:at] + octets + whole[at + len(octets) :]), Budget())
