import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.archives import ole as ole_module
from gatekeeper.message.archives.member import Budget, Opened, Trait
from gatekeeper.message.archives.ole import macros_run, read_ole
from tests.support.archives import ole, package
from tests.support.cost import growth_of


def read(octets: bytes) -> Opened:
    return read_ole(memoryview(octets), Budget())[0]


def sheet(kind: int) -> bytes:
    return struct.pack("<2H", 0x809, 4) + bytes(4) + struct.pack("<2HLBB", 0x85, 8, 0, 0, kind) + b"\x01\0" + bytes(4)


@pytest.mark.parametrize(
    ("streams", "traits"),
    [
        ({"WordDocument": bytes(5000)}, []),
        ({"WordDocument": bytes(5000), "_VBA_PROJECT": b"x", "Module1": b"Sub Work()"}, [Trait.MACRO]),
        ({"_VBA_PROJECT": b"x", "Module1": b"Sub Auto\0Open()"}, [Trait.MACRO, Trait.MACRO_RUNS]),
        ({"_VBA_PROJECT": b"x", "ThisDocument": b"x" * 5000 + b"Document_Open"}, [Trait.MACRO, Trait.MACRO_RUNS]),
        ({"Workbook": sheet(1)}, [Trait.XLM]),
        ({"Workbook": sheet(0)}, []),
        ({"Book": struct.pack("<2H", 0x2F, 2) + b"xx"}, [Trait.ENCRYPTED]),
        ({"EncryptedPackage": b"x", "EncryptionInfo": b"x"}, [Trait.ENCRYPTED]),
        ({"WordDocument": bytes(11) + b"\x01" + bytes(40)}, [Trait.ENCRYPTED]),
        ({"Equation Native": b"x"}, [Trait.EQUATION]),
    ],
)
def test_what_a_document_does_is_seen(streams, traits):
    assert list(read(ole(streams)).traits) == traits


@pytest.mark.parametrize("size", [2, 9000])
def test_a_file_that_stands_in_a_document_is_read(size):
    opened = read(ole({"\x01Ole10Native": package("b.exe", b"MZ" + bytes(size))}))
    assert list(opened.traits) == [Trait.OBJECT]
    assert opened.members[0].name == "b.exe"
    assert opened.members[0].read is not None
    assert opened.members[0].read(3)[:2] == b"MZ"


def test_an_installer_is_known():
    clsid = bytes.fromhex("84100c0000000000c000000000000046")
    assert read_ole(memoryview(ole({"x": b""}, clsid=clsid)), Budget())[1].installer
    assert not read_ole(memoryview(ole({"x": b""})), Budget())[1].installer


def test_names_of_macros_that_run_are_seen_between_what_packs_them():
    assert macros_run(b"\x01\x02Auto\x03Open")
    assert not macros_run(b"automatic")


def test_a_chain_that_goes_in_a_circle_ends():
    made = bytearray(ole({"WordDocument": bytes(5000)}))
    at = made.rindex(struct.pack("<L", 0xFFFFFFFD)) // 512 * 512
    made[at : at + 512] = struct.pack("<128L", *range(128))  # each sector is followed by itself
    assert Trait.BROKEN in read(bytes(made)).traits


def test_cost_grows_with_the_size_alone():
    def circle(n: int) -> bytes:
        made = bytearray(ole({"Workbook": bytes(5000)}).ljust(512 * n, b"\0"))
        at = made.rindex(struct.pack("<L", 0xFFFFFFFD)) // 512 * 512
        made[at : at + 512] = struct.pack("<128L", *range(128))
        return bytes(made)

    assert growth_of(lambda n: read(circle(n)), 2000) < 3.0


def test_streams_that_are_the_same_sectors_are_looked_at_a_few_times_only(monkeypatch):
    looked: list[int] = []

    def workbook(octets: bytes) -> list[Trait]:
        looked.append(len(octets))
        return []

    monkeypatch.setattr(ole_module, "_workbook", workbook)
    names = [f"Stream{n:03}" for n in range(40)]
    made = bytearray(ole({"Workbook": bytes(30_000), **dict.fromkeys(names, b"")}))
    entry = made.index("Workbook".encode("utf-16-le"))
    for name in names:
        at = made.index(name.encode("utf-16-le"))
        made[at : at + 128] = made[entry : entry + 128]
    assert Trait.BROKEN in read(bytes(made)).traits
    assert looked[0] == 30_000
    assert sum(looked) <= ole_module.LOOKS * len(made)


@given(st.binary(max_size=80), st.integers(0, 6000))
def test_any_octets_are_read(octets, at):
    whole = ole({"WordDocument": bytes(5000), "_VBA_PROJECT": b"x", "\x01Ole10Native": package("a", b"x")})
    for each in (octets, whole[:at] + octets + whole[at + len(octets) :], whole[: at + 1]):
        for member in read(each).members:
            if member.read is not None:
                member.read(10)
