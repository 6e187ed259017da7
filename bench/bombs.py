"""What hostile messages cost: `python -m bench.bombs`. Each in a process of its own, read and looked into as live mail.

CPU is that of all threads of the worker, and of the process that may be killed; memory is the peak of each above what
it had before the message, in MiB, the message itself included.
"""

from __future__ import annotations

import asyncio
import base64
import bz2
import gzip
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from gatekeeper.checks.attachments import Attachments
from gatekeeper.checks.base import Tools
from gatekeeper.message.content import read_content
from gatekeeper.message.reading import read_message
from gatekeeper.model import Envelope, Finding, Mail, Session
from gatekeeper.servers.canary import NothingKnown
from gatekeeper.store.memory import MemoryStore

MIB = 1_048_576


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, octets in files.items():
            archive.writestr(name, octets)
    return made.getvalue()


def attached(octets: bytes, name: str = "a.zip") -> bytes:
    head = f'MIME-Version: 1.0\r\nContent-Type: application/octet-stream; name="{name}"\r\n'
    return (
        head.encode()
        + b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(octets).replace(b"\n", b"\r\n")
    )


def nested(octets: bytes, depth: int, beside: int) -> bytes:
    for _ in range(depth):
        octets = zipped({f"{n}.zip": octets for n in range(beside)})
    return octets


def one_line(media: str) -> Callable[[], bytes]:
    head = f"Content-Type: {media}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode()
    return lambda: head + base64.b64encode(os.urandom(50 * MIB * 3 // 4)) + b"\r\n"


def multipart(part: bytes, count: int) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * count + b"--b--\r\n"


def page(html: bytes) -> bytes:
    return b"Content-Type: text/html\r\n\r\n" + html + b"\r\n"


BOMBS: dict[str, Callable[[], bytes]] = {
    "20,000 parts": lambda: multipart(b"--b\r\n\r\nx\r\n", 20_000),
    "20,000 parts that are files": lambda: multipart(
        b"--b\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\nMZ\r\n", 20_000
    ),
    "50 MB base64 in one line, a file": one_line("application/octet-stream"),
    "50 MB base64 in one line, text": one_line("text/plain"),
    "50 MB base64 in one line, HTML": one_line("text/html"),
    "zip in zip in zip": lambda: attached(nested(b"MZ" + bytes(100_000), 3, 1)),
    "42-style, 6 deep, 16 beside": lambda: attached(nested(zipped({"0": bytes(40 * MIB)}), 6, 16)),
    "20,000 members": lambda: attached(zipped({str(n): b"x" for n in range(20_000)})),
    "gzip of 300 MB of nothing": lambda: attached(gzip.compress(bytes(300 * MIB)), "a.gz"),
    "bzip2 of 300 MB of nothing": lambda: attached(bz2.compress(bytes(300 * MIB)), "a.bz2"),
    "20 MB zip of noise": lambda: attached(zipped({"a": os.urandom(20 * MIB)})),
    "100 zips, 40 zips in each": lambda: multipart(
        b"--b\r\n" + attached(zipped({str(n): zipped({"a.exe": b"MZ"}) for n in range(40)})), 100
    ),
    "200 pages": lambda: multipart(b"--b\r\n" + attached(b"<html><a " * 20_000, "a.html"), 200),
    "200,000 nested tags": lambda: page(b"<div>" * 200_000),
    "50,000 attributes": lambda: page(b"<a " + b" ".join(b"a%d=1" % n for n in range(50_000)) + b" href=x>"),
}


async def measure(name: str) -> dict[str, object]:
    check = Attachments()
    tools = Tools(NothingKnown(), MemoryStore(), lambda: 0.0, "mx.example.org", frozenset())
    await inspect(check, tools, attached(zipped({"a": b"x"})))  # all is there, and the process runs
    child = check._unpacker.pid
    raw = BOMBS[name]()
    message = read_message(raw)
    size = len(raw) / MIB
    if len(raw) > MIB:  # as the wire delivers it: on disk, and in memory only when it is read
        message.body = _Spooled(b"".join(message.body.chunks()))
    del raw
    forget_peak("self")
    forget_peak(child)
    before, child_before = peak("self"), peak(child)
    begun, child_begun = time.process_time(), cpu(child)
    found = await inspect(check, tools, message)
    used, child_used = time.process_time() - begun, cpu(child) - child_begun
    result = {
        "MiB": round(size, 1),
        "worker ms": round(used * 1e3),
        "other ms": round(child_used * 1e3),
        "worker MiB": round(peak("self") - before, 1),
        "other MiB": round(peak(child) - child_before, 1),
        "found": [each.rule for each in found if isinstance(each, Finding)],
        "same process": check._unpacker.pid == child,
    }
    await check.close()
    return result


class _Spooled:
    """A body in a file without a name."""

    def __init__(self, octets: bytes) -> None:
        self._fd = os.memfd_create("body")
        self.size = len(octets)
        os.write(self._fd, octets)

    def chunks(self):
        at = 0
        while piece := os.pread(self._fd, 262_144, at):
            at += len(piece)
            yield piece


async def inspect(check: Attachments, tools: Tools, message):
    mail = Mail(Session("s", "smtp", 0.0), Envelope("e"))
    mail.message = read_message(message) if isinstance(message, bytes) else message
    await read_content(mail.message)
    return await check.inspect(mail, tools)


def forget_peak(pid) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


def cpu(pid) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(asyncio.run(measure(sys.argv[1]))))
        return
    print("| message | MiB | worker, ms | other process, ms | worker, MiB | other process, MiB | found |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for name in BOMBS:
        done = subprocess.run([sys.executable, "-m", "bench.bombs", name], capture_output=True, text=True, check=True)
        told = json.loads(done.stdout)
        columns = ("MiB", "worker ms", "other ms", "worker MiB", "other MiB")
        print(f"| {name} | {' | '.join(str(told[key]) for key in columns)} | {', '.join(told['found'])} |", flush=True)


if __name__ == "__main__":
    main()
