"""A real clamd with one signature written by hand: over both kinds of socket, and behind the whole proxy."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gatekeeper.checks.clamav import MAIL
from gatekeeper.scanning.clamd import Clamd, ClamdAway
from gatekeeper.wire.clamd import Answer, Result
from gatekeeper.wire.listen import UnixAddress, read_listen
from tests.peers.conftest import need
from tests.peers.instances import Gatekeeper, Postfix, Process, free_port, listens, wait_until
from tests.peers.test_front import GOOD, Client, message

MARK = b"what no honest message says 7d1f"
NAME = "Test.Mark"
LIMIT = 2 * 1_048_576


class ClamdServer:
    """One clamd that has no other signatures, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.socket = directory / "clamd.ctl"
        signatures = directory / "signatures"
        signatures.mkdir(parents=True)
        (signatures / "own.ndb").write_text(f"{NAME}:0:*:{MARK.hex()}\n")
        lines = [
            f"DatabaseDirectory {signatures}",
            f"LocalSocket {self.socket}",
            f"TCPSocket {self.port}",
            "TCPAddr 127.0.0.1",
            f"StreamMaxLength {LIMIT}",
            f"TemporaryDirectory {directory}",
            "Foreground yes",
            "ScanMail yes",
            *(["User root"] if os.geteuid() == 0 else []),
        ]
        (directory / "clamd.conf").write_text("\n".join(lines) + "\n")
        self.process: Process | None = None

    def start(self) -> None:
        self.process = Process("clamd", ["clamd", "-c", str(self.directory / "clamd.conf")], self.directory)
        wait_until("clamd", lambda: listens(self.port) and self.socket.exists())

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()


@dataclass(frozen=True)
class Scanned:
    clamd: ClamdServer
    gatekeeper: Gatekeeper


@pytest.fixture(scope="module")
def clamd(workplace: Path) -> Iterator[ClamdServer]:
    need("clamd")
    server = ClamdServer(workplace / "clamd")
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_one_session_scans_many(clamd: ClamdServer, kind: str):
    address = UnixAddress(str(clamd.socket)) if kind == "unix" else read_listen(f"127.0.0.1:{clamd.port}")
    assert not isinstance(address, str)
    client = Clamd(address, timeout=30.0, sessions=2)  # type: ignore[arg-type]  # it is no systemd socket
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", MARK)
    mail = MAIL + b"X-Odd: field\r\nMIME-Version: 1.0\r\nContent-Type: application/zip; name=a.zip\r\n"
    mail += b"Content-Transfer-Encoding: base64\r\n\r\n"
    mail += base64.encodebytes(archive.getvalue())
    found = [
        await client.scan(lambda: [b"hello " * 100_000]),
        await client.scan(lambda: [b"before ", MARK, b" behind"]),
        await client.scan(lambda: [mail]),
        await client.scan(lambda: [b"x" * (LIMIT + 1_048_576)]),
        await client.scan(lambda: [b"hello"]),
    ]
    assert [each.result for each in found] == [
        Result.CLEAN,
        Result.FOUND,
        Result.FOUND,
        Result.TOO_LARGE,
        Result.CLEAN,
    ]
    assert found[1] == Answer(Result.FOUND, f"{NAME}.UNOFFICIAL")
    await asyncio.gather(*(client.scan(lambda: [b"hello"]) for _ in range(10)))
    await client.close()


async def test_a_clamd_that_was_started_anew_is_found_again(clamd: ClamdServer):
    client = Clamd(UnixAddress(str(clamd.socket)), timeout=30.0, sessions=1)
    assert (await client.scan(lambda: [b"hello"])).result is Result.CLEAN
    clamd.stop()
    with pytest.raises(ClamdAway):
        await client.scan(lambda: [b"hello"])
    clamd.start()
    assert (await client.scan(lambda: [MARK])).result is Result.FOUND
    await client.close()


@pytest.fixture(scope="module")
def scanned(workplace: Path, postfix: Postfix, nameserver: int, clamd: ClamdServer) -> Iterator[Scanned]:
    directory = workplace / "scanned"
    directory.mkdir()
    extra = f'[checks.clamav]\nclamd = "unix:{clamd.socket}"\nsuspect = ["PUA."]\n'
    gatekeeper = Gatekeeper(directory, next_hop=f"smtp://127.0.0.1:{postfix.port}", nameserver=nameserver, extra=extra)
    gatekeeper.start()
    yield Scanned(clamd, gatekeeper)
    gatekeeper.stop()


def test_malware_is_refused_other_mail_passes_and_passes_while_clamd_is_away(scanned: Scanned):
    sender, to = "scan@good.test", ["alice@example.org"]

    def deliver(subject: str, body: bytes) -> tuple[int, str]:
        with Client(scanned.gatekeeper, GOOD) as client:
            return client.deliver(sender, to, message(sender, subject).rstrip() + b"\r\n" + body + b"\r\n")

    code, text = deliver("scan-found", MARK)
    assert code == 550, text
    assert deliver("scan-clean", b"hello")[0] == 250
    scanned.clamd.stop()
    assert deliver("scan-away", MARK)[0] == 250  # its absence is never a verdict
    scanned.clamd.start()


def test_a_program_in_an_attachment_is_refused_when_it_is_disguised(scanned: Scanned):
    with Client(scanned.gatekeeper, GOOD) as client:
        mail = (
            b"From: scan@good.test\r\nSubject: scan-program\r\nMIME-Version: 1.0\r\n"
            b'Content-Type: application/octet-stream; name="invoice.pdf.exe"\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\n"
            + base64.encodebytes(b"MZ" + bytes(300)).replace(b"\n", b"\r\n")
        )
        code, text = client.deliver("scan@good.test", ["alice@example.org"], mail)
    assert code == 550, text
