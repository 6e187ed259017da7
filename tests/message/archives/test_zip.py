import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives.member import Budget, LeftOut, Limits, Opened, Trait
from gatekeeper.message.archives.zip import read_zip
from tests.support.archives import encrypted, zipped
from tests.support.cost import growth_of

TWO: dict[str, bytes | str] = {"a.txt": "hello", "b.exe": b"MZ"}


def read(octets: bytes, limits: Limits | None = None) -> Opened:
    return read_zip(memoryview(octets), Budget(limits or Limits()))


def names(opened: Opened) -> list[str]:
    return [member.name for member in opened.members]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_members_are_listed_and_read(method):
    opened = read(zipped(TWO, method))
    assert (names(opened), list(opened.traits)) == (["a.txt", "b.exe"], [])
    assert opened.members[0].read is not None
    assert opened.members[0].read(3) == b"hel"
    assert opened.members[0].size == 5


def test_names_of_locked_members_are_listed():
    opened = read(encrypted(zipped(TWO)))
    assert names(opened) == ["a.txt", "b.exe"]
    assert all(member.traits == (Trait.ENCRYPTED,) and member.read is None for member in opened.members)


def test_an_archive_without_its_end_is_read_from_the_front():
    whole = zipped(TWO)
    opened = read(whole[: whole.index(b"PK\x01\x02")])
    assert (names(opened), list(opened.traits)) == (["a.txt", "b.exe"], [Trait.BROKEN])


def test_both_of_two_archives_behind_each_other_are_read():
    opened = read(zipped({"harmless.txt": "x"}) + zipped({"b.exe": b"MZ"}))
    assert set(names(opened)) == {"harmless.txt", "b.exe"}


def test_a_program_before_the_archive_does_not_hide_it():
    assert names(read(b"MZ" + bytes(500) + zipped(TWO))) == ["a.txt", "b.exe"]


def test_a_member_that_the_list_does_not_name_is_found():
    hidden, shown = zipped({"b.exe": b"MZ"}), zipped({"a.txt": "x"})
    opened = read(hidden[: hidden.index(b"PK\x01\x02")] + shown)
    assert set(names(opened)) == {"a.txt", "b.exe"}
    assert Trait.AMBIGUOUS in opened.traits


def test_a_name_that_is_another_in_front_of_the_data_is_shown_too():
    made = bytearray(zipped({"a.txt": "x"}))
    made[made.index(b"a.txt") : made.index(b"a.txt") + 5] = b"a.exe"
    opened = read(bytes(made))
    assert names(opened) == ["a.txt (a.exe)"]
    assert Trait.AMBIGUOUS in opened.traits


def test_members_that_share_their_octets_overlap():
    kernel = zlib.compress(bytes(1_000_000))[2:-4]
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(kernel), 1_000_000, 1, 0) + b"a" + kernel
    line = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(kernel), 1_000_000, 1, 0, 0, 0, 0, 0, 0)
        + bytes([97 + n % 26])
        for n in range(400)
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 400, 400, len(line), len(local), 0)
    opened = read(local + line + end)
    assert {Trait.OVERLAPPING, Trait.RATIO} <= set(opened.traits)


def test_what_would_be_enormous_is_a_bomb_and_what_packs_well_is_none():
    assert Trait.RATIO not in read(zipped({"log": bytes(2_000_000)})).traits
    assert Trait.RATIO in read(zipped({"a": bytes(2_000_000)}), Limits(enormous=1_000_000)).traits


def test_budgets_are_kept_and_said():
    budget = Budget(Limits(members=10))
    assert len(read_zip(memoryview(zipped({str(n): "x" for n in range(50)})), budget).members) == 10
    assert LeftOut.MEMBERS in budget.left_out


BOMBS: dict[str, Callable[[int], bytes]] = {
    "ends": lambda n: b"PK\x05\x06" * n,
    "fronts": lambda n: b"PK\x03\x04" * n,
    "lines": lambda n: b"PK\x01\x02" * n + b"PK\x05\x06" + bytes(18),
    "members": lambda n: zipped({f"{i}": b"" for i in range(n // 100)}),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_cost_grows_with_the_size_alone(bomb):
    assert growth_of(lambda n: read(BOMBS[bomb](n)), 20_000) < 3.0


@given(st.binary(max_size=200), st.integers(0, 200), st.binary(max_size=8))
def test_any_octets_are_read(octets, at, piece):
    whole = zipped({"a": octets, "b": b"x"})
    for each in (octets, b"PK\x03\x04" + octets, whole[:at] + piece + whole[at + len(piece) :], whole[at:]):
        for member in read(each).members:
            if member.read is not None:
                member.read(50)


@pytest.mark.parametrize(
    "octets",
    [
        b"PK\3\4" * 500 + zipped({"a": "x"}),
        b"PK\3\4" + bytes(22) + b"\xff\xff" + bytes(2) + zipped({"a": "x"}) + (b"PK\3\4" + b"\xff" * 26) * 500,
    ],
)
def test_marks_of_members_that_are_none_are_charged(octets):
    budget = Budget(Limits(steps=100))
    read_zip(memoryview(octets), budget)
    assert budget.steps == 101
    assert set(budget.left_out) == {LeftOut.MEMBERS}


def test_fields_of_a_list_are_charged():
    archive = bytearray(zipped({"a": "x"}))
    at = archive.index(b"PK\1\2")
    archive[at + 20 : at + 24] = b"\xff" * 4
    archive[at + 30 : at + 32] = (4 * 500).to_bytes(2, "little")
    archive[at + 47 : at + 47] = b"\2\0\0\0" * 500
    end = archive.index(b"PK\5\6")
    archive[end + 12 : end + 16] = (end - at).to_bytes(4, "little")
    budget = Budget(Limits(steps=100))
    read_zip(memoryview(bytes(archive)), budget)
    assert set(budget.left_out) == {LeftOut.MEMBERS}


def test_a_long_name_that_many_members_share_is_not_kept_for_each():
    local = zipped({"b" * 60_000: "x"})
    local = local[: local.index(b"PK\1\2")]
    entry = zipped({"a": "x"})
    entry = entry[entry.index(b"PK\1\2") : entry.index(b"PK\5\6")]
    many = local + entry * 2000 + b"PK\5\6" + bytes(4) + (2000).to_bytes(2, "little") * 2
    many += len(entry * 2000).to_bytes(4, "little") + len(local).to_bytes(4, "little") + bytes(2)
    tracemalloc.start()
    opened = read_zip(memoryview(many), Budget())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(opened.members) == 2000
    assert Trait.AMBIGUOUS in opened.traits
    assert peak < 20 * 1_048_576
