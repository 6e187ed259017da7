"""Archives and documents made by hand, honest and otherwise."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence

PROGRAM = b"MZ" + bytes(200)


def zipped(files: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, octets in files.items():
            told = zipfile.ZipInfo(name)  # of 1980: a test is called after its octets, in every process alike
            told.compress_type = method
            archive.writestr(told, octets)
    return made.getvalue()


def nested(octets: bytes, depth: int, *, beside: int = 1) -> bytes:
    """Zip in zip in zip; `beside` copies in each."""
    for _ in range(depth):
        octets = zipped({f"z{n}.zip": octets for n in range(beside)})
    return octets


def encrypted(archive: bytes) -> bytes:
    """As if every member had a password."""
    made = bytearray(archive)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = made.find(mark)
        while place >= 0:
            made[place + at] |= 1
            place = made.find(mark, place + 4)
    return bytes(made)


def rar5(names: Sequence[str], *, locked: bool = False, hidden: bool = False, size: int = 5) -> bytes:
    made = bytearray(b"Rar!\x1a\x07\x01\x00")
    made += _block5(b"\x04\x00\x00\x00\x0f" + bytes(16)) if hidden else _block5(b"\x01\x00\x00")
    for name in names:
        extra = b"\x02\x01\x00" if locked else b""
        told = name.encode()
        header = b"\x02" + (b"\x03" + _vint(len(extra)) if extra else b"\x02") + b"\x05"
        header += b"\x00" + _vint(size) + b"\x20\x00\x00" + _vint(len(told)) + told + extra
        made += _block5(header) + b"hello"
    return bytes(made + _block5(b"\x05\x00\x00"))


def _block5(header: bytes) -> bytes:
    return bytes(4) + _vint(len(header)) + header


def _vint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def rar4(names: Sequence[str], *, locked: bool = False, hidden: bool = False, size: int = 5) -> bytes:
    made = bytearray(b"Rar!\x1a\x07\x00")
    made += struct.pack("<HBHH", 0, 0x73, 0x80 if hidden else 0, 13) + bytes(6)
    for name in names:
        told = name.encode()
        flags = 0x8000 | (4 if locked else 0)
        made += struct.pack("<HBHH", 0, 0x74, flags, 7 + 25 + len(told))
        made += struct.pack("<LLBLLBBHL", 5, size, 0, 0, 0, 29, 0x30, len(told), 32) + told + b"hello"
    return bytes(made + struct.pack("<HBHH", 0, 0x7B, 0, 7))


def seven(names: Sequence[str], *, locked: bool = False, hidden: bool = False) -> bytes:
    """One folder, stored, with a plain list of names."""
    coder = b"\x24\x06\xf1\x07\x01\x01\x00" if locked or hidden else b"\x01\x00"
    streams = b"\x06\x00\x01\x09\x05\x00" + b"\x07\x0b\x01\x00\x01" + coder + b"\x0c\x05\x00" + b"\x00"
    told = b"\x00" + "".join(f"{name}\0" for name in names).encode("utf-16-le")
    files = b"\x05" + _seven(len(names)) + b"\x11" + _seven(len(told)) + told + b"\x00"
    header = b"\x17" + streams if hidden else b"\x01\x04" + streams + files + b"\x00"
    start = struct.pack("<QQL", 5, len(header), 0)
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(4) + start + b"hello" + header


def _seven(number: int) -> bytes:
    return bytes([number]) if number < 0x80 else bytes([0x80 | number >> 8, number & 0xFF])


def cabinet(names: Sequence[str]) -> bytes:
    entries = b"".join(struct.pack("<2L4H", 5, 0, 0, 0, 0, 0x80) + name.encode() + b"\0" for name in names)
    return struct.pack("<4s4LL2B2H", b"MSCF", 0, 0, 0, 36, 0, 3, 1, 1, len(names)) + bytes(6) + entries


def iso(files: Mapping[str, bytes], *, joliet: bool = True) -> bytes:
    """A disk image with these files in its one directory."""
    sectors = [bytes(2048)] * 16
    place = 20
    charset = "utf-16-be" if joliet else "ascii"
    records = _record(b"\0", 19, 2048, folder=True) + _record(b"\1", 19, 2048, folder=True)
    data = b""
    for name, octets in files.items():
        records += _record(f"{name};1".encode(charset), place + len(data) // 2048, len(octets))
        data += octets + bytes(-len(octets) % 2048)
    root = _record(b"\0", 19, 2048, folder=True)
    sectors.append(_descriptor(1, root, b""))
    sectors.append(_descriptor(2, root, b"%/E") if joliet else _descriptor(255, b"", b""))
    sectors.append(_descriptor(255, b"", b""))
    sectors.append(records.ljust(2048, b"\0"))
    return b"".join(sectors) + data


def _descriptor(kind: int, root: bytes, escape: bytes) -> bytes:
    made = bytearray(2048)
    made[:7] = bytes([kind]) + b"CD001\x01"
    made[88 : 88 + len(escape)] = escape
    made[156 : 156 + len(root)] = root
    return bytes(made)


def _record(name: bytes, sector: int, size: int, *, folder: bool = False) -> bytes:
    length = 33 + len(name) + (1 - len(name) % 2)
    made = bytes([length, 0]) + sector.to_bytes(4, "little") + sector.to_bytes(4) + size.to_bytes(4, "little")
    made += size.to_bytes(4) + bytes(7) + bytes([2 if folder else 0]) + bytes(6) + bytes([len(name)]) + name
    return made.ljust(length, b"\0")


def ole(streams: Mapping[str, bytes], *, clsid: bytes = bytes(16)) -> bytes:
    """An OLE file with these streams, small ones among the small (MS-CFB)."""
    sectors: list[bytes] = []
    table: list[int] = []

    def put(octets: bytes) -> int:
        first = len(sectors)
        count = max(1, -(-len(octets) // 512))
        for n in range(count):
            sectors.append(octets[n * 512 : (n + 1) * 512].ljust(512, b"\0"))
            table.append(first + n + 1 if n + 1 < count else 0xFFFFFFFE)
        return first

    small, small_table, entries = bytearray(), [], []
    for name, octets in streams.items():
        if len(octets) >= 4096:
            entries.append((name, put(octets), len(octets)))
            continue
        first, count = len(small) // 64, max(1, -(-len(octets) // 64))
        small += octets.ljust(count * 64, b"\0")
        small_table += [first + n + 1 if n + 1 < count else 0xFFFFFFFE for n in range(count)]
        entries.append((name, first, len(octets)))
    together = put(bytes(small))
    small_at = put(b"".join(n.to_bytes(4, "little") for n in small_table))
    directory = _entry("Root Entry", 5, together, len(small), clsid)
    directory += b"".join(_entry(name, 2, first, size) for name, first, size in entries)
    directory_at = put(directory)
    table_at = len(sectors)
    table.append(0xFFFFFFFD)
    assert len(table) <= 128
    table += [0xFFFFFFFF] * (128 - len(table))
    sectors.append(struct.pack("<128L", *table))
    head = struct.pack("<8s16s5H6x", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", bytes(16), 62, 3, 0xFFFE, 9, 6)
    head += struct.pack("<9L", 0, 1, directory_at, 0, 4096, small_at, 1, 0xFFFFFFFE, 0)
    head += struct.pack("<109L", table_at, *[0xFFFFFFFF] * 108)
    return head + b"".join(sectors)


def _entry(name: str, kind: int, start: int, size: int, clsid: bytes = bytes(16)) -> bytes:
    told = name.encode("utf-16-le") + b"\0\0"
    made = told.ljust(64, b"\0") + len(told).to_bytes(2, "little") + bytes([kind, 1]) + b"\xff" * 12
    return made + clsid + bytes(20) + start.to_bytes(4, "little") + size.to_bytes(8, "little")


def package(name: str, octets: bytes) -> bytes:
    """An Ole10Native stream: a file that somebody put into a document."""
    told = name.encode() + b"\0"
    made = b"\2\0" + told + b"C:\\" + told + b"\0\0\3\0" + len(told).to_bytes(4, "little") + told
    made += len(octets).to_bytes(4, "little") + octets
    return len(made).to_bytes(4, "little") + made


def listed(archive: bytes, name: str = "a") -> Sequence[object]:
    """What is found in it, for short tests."""
    from gatekeeper.message.archives.member import Budget
    from gatekeeper.message.archives.walk import walk

    return walk([(name, memoryview(archive))], Budget(), wanted=frozenset({"exe", "js"})).files
