"""`python -m bench.lists_catastrophe`: ten DNS lists go wrong, in front of gatekeeper, rspamd and postscreen.

Good clients that no list names send mail before, during and after; counted is how many are refused. As root, with the
Debian packages rspamd and postfix: everything runs in a network of its own (unshare), with its own nameserver on port
53, and is gone afterwards. What is not installed is left out.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import ipaddress
import itertools
import json
import os
import pwd
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from ctypes import c_int
from dataclasses import dataclass
from multiprocessing import Array, Process
from pathlib import Path
from typing import Any, Final

from bench.rspamd import rspamd

INSIDE: Final = "GATEKEEPER_BENCH_INSIDE"
UNWANTED: Final = [f"bl{n}.test" for n in range(9)]
ZONES: Final = [*UNWANTED, "wl.test"]
WELL, DEAD, WORLD, REFUSES, HIJACKED = range(5)
DISASTERS: Final = {"goes dead": DEAD, "lists the world": WORLD, "refuses us": REFUSES, "is hijacked": HIJACKED}
ANSWERS: Final = {WORLD: "127.0.0.2", REFUSES: "127.255.255.254", HIJACKED: "203.0.113.7"}
RAW: Final = (
    b"From: a@example.net\r\nTo: b@example.org\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n"
    b"Subject: hello\r\nMessage-ID: <1@example.net>\r\n\r\nhello\r\n"
)
clients: Final = (str(ipaddress.IPv4Address(0x0B000001 + 257 * n)) for n in itertools.count())


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is measured; `verdict` says "good", "refused" or "deferred" for a client's address."""

    name: str
    verdict: Callable[[str], str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lists_catastrophe", description=__doc__, allow_abbrev=False)
    parser.add_argument("--messages", type=int, default=50, help="good messages in each phase")
    given = parser.parse_args()
    if INSIDE not in os.environ:
        command = ["unshare", "-mn", sys.executable, "-m", "bench.lists_catastrophe", *sys.argv[1:]]
        raise SystemExit(subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory(prefix="gatekeeper-lists-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        subprocess.run(["mount", "--bind", directory / "resolv.conf", "/etc/resolv.conf"], check=True)
        modes = Array(c_int, len(ZONES))
        names = Process(target=_names, args=(modes, os.getpid()), daemon=True)
        names.start()
        stack.callback(names.terminate)
        peers = [stack.enter_context(make(directory)) for make in (_gatekeeper, _rspamd, _postscreen)]
        _measure([peer for peer in peers if peer is not None], modes, given.messages)


def _measure(peers: list[Peer], modes: Any, count: int) -> None:
    print(f"refused (deferred) of {count} good messages in each phase; ten lists, one of them or all break")
    print(f"{'':34}" + "".join(f"{peer.name:>22}" for peer in peers))
    total = dict.fromkeys((peer.name for peer in peers), 0)
    for (about, mode), broken in itertools.product(DISASTERS.items(), ([3], list(range(10)))):
        for phase in ("before", "during", "after"):
            for number in range(len(ZONES)):
                modes[number] = mode if phase == "during" and number in broken else WELL
            row = []
            for peer in peers:
                with concurrent.futures.ThreadPoolExecutor(10) as pool:
                    verdicts = list(pool.map(peer.verdict, itertools.islice(clients, count)))
                refused, deferred = verdicts.count("refused"), verdicts.count("deferred")
                total[peer.name] += refused
                row.append(f"{refused} ({deferred})")
            who = "one list" if len(broken) == 1 else "all lists"
            print(f"{f'{who} {about}, {phase}':34}" + "".join(f"{cell:>22}" for cell in row), flush=True)
    print(f"{'refused in all':34}" + "".join(f"{total[peer.name]:>22}" for peer in peers))


# --- the nameserver --------------------------------------------------------------------------------------------------


def _names(modes: Any, parent: int) -> None:
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.bind(("127.0.0.1", 53))
    here.settimeout(1.0)
    while os.getppid() == parent:
        try:
            query, client = here.recvfrom(1500)
        except TimeoutError:
            continue
        reply = _reply(query, modes)
        if reply:
            here.sendto(reply, client)


def _reply(query: bytes, modes: Any) -> bytes | None:
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace").lower())
        at += 1 + query[at]
    (rtype,) = struct.unpack(">H", query[at + 1 : at + 3])
    name = ".".join(labels)
    answer = ""
    for zone, mode in zip(ZONES, modes, strict=True):
        if name.endswith(f".{zone}"):
            if mode == DEAD:
                return None
            answer = ANSWERS.get(mode, "127.0.0.2" if name == f"2.0.0.127.{zone}" else "")
    body = b""
    if answer and rtype == 1:
        body = struct.pack(">HHHIH", 0xC00C, 1, 1, 5, 4) + socket.inet_aton(answer)
    flags = 0x8580 if answer or name in {"org", *ZONES} else 0x8583
    return query[:2] + struct.pack(">HHHHH", flags, 1, bool(body), 0, 0) + query[12 : at + 5] + body


# --- the peers -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _gatekeeper(directory: Path) -> Iterator[Peer]:
    lists = "".join(
        f'[[checks.dnsbl.lists]]\nzone = "{zone}"\nname = "L{n}"\nscore = {4.0 if zone in UNWANTED else -5.0}\n'
        for n, zone in enumerate(ZONES)
    )
    file = directory / "gatekeeper.toml"
    file.write_text(
        'hostname = "mx.example.org"\nrelay_domains = ["example.org"]\n[servers.milter]\nlisten = ["127.0.0.1:10027"]\n'
        f'[servers.http]\nlisten = ["127.0.0.1:8025"]\n[dns]\nlists_test_every = "10s"\n'
        f'[store]\nurl = "sqlite:{directory}/state.db"\n[supervisor]\nworkers = 1\ndrain = "1s"\n{lists}'
    )
    with _running(directory, sys.executable, "-m", "gatekeeper", "run", "-c", str(file)):
        _wait_for(8025)
        yield Peer("gatekeeper", lambda address: _asked(8025, address))


@contextlib.contextmanager
def _rspamd(directory: Path) -> Iterator[Peer | None]:
    rbls = "".join(
        f'"l{n}" {{ symbol = "L{n}"; rbl = "{zone}"; ipv4 = true; ipv6 = false; checks = ["from"]; }}\n'
        for n, zone in enumerate(ZONES)
    )
    stock = ("spamhaus", "mailspike", "senderscore", "sem", "semIPv6", "dnswl", "virusfree", "blocklistde")
    rbls += "".join(f'"{name}" {{ enabled = false; }}\n' for name in stock)
    scores = "".join(f'"L{n}" {{ weight = {4.0 if zone in UNWANTED else -5.0}; }}\n' for n, zone in enumerate(ZONES))
    with rspamd(
        directory,
        options='dns { nameserver = ["127.0.0.1:53"]; timeout = 1s; retransmits = 2; }\ndisable_hyperscan = true;\n',
        off=OFF,
        local={"rbl.conf": f"rbls {{\n{rbls}}}\n", "rbl_group.conf": f"symbols {{\n{scores}}}\n"},
        override={"actions.conf": "reject = 10; add_header = 5; greylist = null;\n"},
    ) as there:
        if there is None:
            yield None
            return
        port = there.port
        yield Peer("rspamd", lambda address: _asked(port, address))


OFF: Final = (
    "fuzzy_check",
    "asn",
    "greylist",
    "rspamd_update",
    "mx_check",
    "neural",
    "phishing",
    "hfilter",
    "once_received",
)


def _asked(port: int, address: str) -> str:
    """What rspamd's protocol says to that client's mail (gatekeeper speaks it too)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"IP": address, "From": "a@example.net", "Rcpt": "b@example.org", "Helo": "mail.example.net"}
    try:
        connection.request("POST", "/checkv2", RAW, headers)
        action = json.loads(connection.getresponse().read()).get("action")
    finally:
        connection.close()
    return {"reject": "refused", "soft reject": "deferred"}.get(action, "good")


@contextlib.contextmanager
def _postscreen(directory: Path) -> Iterator[Peer | None]:
    if shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        yield None
        return
    etc, queue, data = directory / "postfix", directory / "queue", directory / "data"
    for path in (etc, queue, data):
        path.mkdir()
    user = pwd.getpwnam("postfix")
    os.chown(data, user.pw_uid, user.pw_gid)
    sites = " ".join(f"{zone}*{4 if zone in UNWANTED else -5}" for zone in ZONES)
    (etc / "main.cf").write_text(
        f"""compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
myhostname = mx.example.org
mydestination = example.org
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
postscreen_upstream_proxy_protocol = haproxy
postscreen_dnsbl_sites = {sites}
postscreen_dnsbl_threshold = 10
postscreen_dnsbl_action = enforce
postscreen_greet_action = ignore
postscreen_greet_wait = 3s
postscreen_access_list =
"""
    )
    (etc / "master.cf").write_text(
        """2525 inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
anvil unix - - n - 1 anvil
local unix - n n - - local
discard unix - - n - - discard
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""
    )
    subprocess.run(["/usr/sbin/postfix", "-c", str(etc), "start"], check=True, capture_output=True)
    try:
        _wait_for(2525)
        yield Peer("postscreen", _spoken)
    finally:
        subprocess.run(["/usr/sbin/postfix", "-c", str(etc), "stop"], check=False, capture_output=True)


def _spoken(address: str) -> str:
    """What a client at that address is told at RCPT."""
    with socket.create_connection(("127.0.0.1", 2525), 60) as connection, connection.makefile("rb") as read:
        connection.sendall(f"PROXY TCP4 {address} 127.0.0.1 40000 25\r\n".encode())
        for command in ("", "EHLO mail.example.net", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>"):
            if command:
                connection.sendall(command.encode() + b"\r\n")
            code = b""
            while True:
                line = read.readline()
                code = line[:3]
                if line[3:4] != b"-":
                    break
            if not code.startswith(b"2"):
                return "refused" if code.startswith(b"5") else "deferred"
        connection.sendall(b"QUIT\r\n")
    return "good"


@contextlib.contextmanager
def _running(directory: Path, *command: str) -> Iterator[None]:
    with (directory / f"{Path(command[0]).name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_for(port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.2)
    raise RuntimeError(f"nobody listens on port {port}")


if __name__ == "__main__":
    main()
