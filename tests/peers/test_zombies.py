"""The same zombies against Postfix' postscreen and against us, and a sender with many addresses that means well.

Clients come by PROXY headers, which both understand; both ask the same six lists.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.postscreen import postscreen, unfit
from gatekeeper.bench import zone
from gatekeeper.bench.letters import LISTS, key_record, new_key
from tests.peers.conftest import need
from tests.peers.instances import Gatekeeper, Postfix, free_port, wait_until

PAUSE = 1
TEXT = b"From: <a@d1.bench.example>\r\nSubject: x\r\n\r\nhello\r\n.\r\n"
DEEP = """
postscreen_pipelining_enable = yes
postscreen_pipelining_action = enforce
postscreen_non_smtp_command_enable = yes
postscreen_non_smtp_command_action = enforce
postscreen_bare_newline_enable = yes
postscreen_bare_newline_action = enforce
"""


class Client:
    """One connection that seems to come from `address`."""

    def __init__(self, port: int, address: str, first: bytes = b"") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 30)
        self._file = self._socket.makefile("rb")
        self.send(f"PROXY TCP4 {address} 127.0.0.1 40000 25\r\n".encode() + first)

    def send(self, octets: bytes) -> None:
        with contextlib.suppress(OSError):  # it has been turned away: what it was told can still be read
            self._socket.sendall(octets)

    def line(self) -> str:
        try:
            return self._file.readline().decode().strip()
        except OSError:
            return ""

    def reply(self) -> str:
        """The last line of a reply; "" when the connection is over."""
        while (line := self.line())[3:4] == "-":
            pass
        return line

    def __call__(self, *lines: bytes, end: bytes = b"\r\n") -> str:
        """Several commands in one write; the last of their replies, or the first that refuses."""
        self.send(end.join(lines) + end)
        for _ in lines:
            said = self.reply()
            if said[:1] not in {"2", "3"}:
                return said
        return said

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@dataclass(frozen=True)
class Side:
    """Where the zombies go: the port, and somebody who gets mail there."""

    port: int
    recipient: bytes


def mail(client: Client, to: bytes, *, end: bytes = b"\r\n", sender: bytes = b"a@d1.bench.example") -> str:
    """All of a mail, a command at a time; the answer that ended it."""
    for line in (b"EHLO zombie.bench.example", b"MAIL FROM:<%s>" % sender, b"RCPT TO:<%s>" % to, b"DATA"):
        said = client(line, end=end)
        if said[:1] not in {"2", "3"}:
            return said
    client.send(TEXT)
    return client.reply()


def at_once(side: Side, address: str) -> str:
    client = Client(side.port, address, b"EHLO zombie.bench.example\r\nMAIL FROM:<a@b.example>\r\n")
    said = client.reply()
    return said if said[:1] in {"4", "5", ""} else mail(client, side.recipient)


def after_the_first_line(side: Side, address: str) -> str:
    client = Client(side.port, address)
    client.line()
    return mail(client, side.recipient)


def all_in_one(side: Side, address: str) -> str:
    client = Client(side.port, address)
    if client.reply()[:3] != "220":
        return "refused"
    said = client(b"EHLO zombie.bench.example", b"MAIL FROM:<a@b.example>", b"RCPT TO:<%s>" % side.recipient, b"DATA")
    if said[:3] != "354":
        return said
    client.send(TEXT)
    return client.reply()


def browser(side: Side, address: str) -> str:
    client = Client(side.port, address)
    client.reply()
    said = client(b"GET / HTTP/1.1", b"Host: mx.example")
    return said if said[:1] not in {"2", "3"} else mail(client, side.recipient)


def tls(side: Side, address: str) -> str:
    client = Client(side.port, address, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n")
    said = client.reply()
    return said if said[:1] not in {"2", "3"} else mail(client, side.recipient)


def bare_newlines(side: Side, address: str) -> str:
    client = Client(side.port, address)
    return mail(client, side.recipient, end=b"\n") if client.reply()[:3] == "220" else "refused"


def polite_but_listed(side: Side, address: str) -> str:
    client = Client(side.port, address)
    return mail(client, side.recipient) if client.reply()[:3] == "220" else "refused"


CLEAN = (at_once, after_the_first_line, all_in_one, browser, tls, bare_newlines)


@pytest.fixture(scope="module")
def names() -> Iterator[int]:
    need("postfix")
    if why := unfit():
        pytest.skip(why)
    record = key_record(new_key())
    ours, address = zone.start(record)
    theirs, _ = zone.start(record, ("127.7.0.55", 53))
    yield int(address.rpartition(":")[2])
    for process in (ours, theirs):
        process.terminate()
        process.join()


@pytest.fixture(scope="module")
def us(workplace: Path, postfix: Postfix, names: int) -> Iterator[tuple[Gatekeeper, Side]]:
    directory = workplace / "zombies"
    directory.mkdir()
    port = free_port()
    lists = "".join(
        f'[[checks.dnsbl.lists]]\nzone = "{each}"\nname = "L{n}"\nscore = 4.0\n' for n, each in enumerate(LISTS)
    )
    instance = Gatekeeper(
        directory,
        next_hop=f"smtp://127.0.0.1:{postfix.port}",
        nameserver=names,
        smtp=f'proxy_listen = ["127.0.0.1:{port}"]\ngreeting_delay = "{PAUSE}s"\nbare_newline = "reject"',
        extra=lists,
    )
    instance.start()
    yield instance, Side(port, b"alice@example.org")
    instance.stop()


@pytest.fixture(scope="module")
def them(workplace: Path, names: int) -> Iterator[Side]:
    with postscreen(workplace / "postscreen", nameserver="127.7.0.55", wait=PAUSE, lists=LISTS, more=DEEP) as instance:
        yield Side(instance.port, b"user@mx.example")


def test_we_turn_away_at_least_as_many_zombies_as_postscreen(us, them):
    script: list[tuple[Callable[[Side, str], str], str]] = [
        *((kind, f"198.18.{1 + n}.{20 + turn}") for n, kind in enumerate(CLEAN) for turn in range(3)),
        *((polite_but_listed, f"198.19.200.{20 + turn}") for turn in range(3)),
    ]
    delivered: dict[str, Counter[str]] = {"us": Counter(), "postscreen": Counter()}
    for who, side in (("us", us[1]), ("postscreen", them)):
        for zombie, address in script:
            delivered[who][zombie.__name__] += zombie(side, address)[:1] == "2"
    assert delivered["us"].total() == 0
    assert delivered["us"].total() <= delivered["postscreen"].total()
    page = us[0].get("/metrics")
    assert 'gatekeeper_greetings_total{result="early"} 6.0' in page
    assert 'gatekeeper_findings_total{rule="PIPELINED_EARLY"} 3.0' in page
    assert 'gatekeeper_findings_total{rule="NOT_SMTP"} 6.0' in page
    assert "Traceback" not in us[0].log()


def test_a_pool_that_means_well_is_kept_waiting_once_and_never_put_off(us, them):
    """Twenty addresses, one domain; each mail goes to the next address when it is put off."""
    gatekeeper, side = us
    pool = [f"198.18.40.{n}" for n in range(1, 21)]

    def greeted(address: str, at: Side) -> tuple[str, Client]:
        client = Client(at.port, address)
        return client.line(), client

    def put_off(at: Side) -> int:
        times = 0
        for address in pool:
            client = Client(at.port, address)
            said = client.reply()
            said = mail(client, at.recipient) if said[:3] == "220" else said
            client.close()
            times += said[:1] != "2"
        return times

    first, client = greeted(pool[0], side)
    assert first.startswith("220-")  # nobody knows it yet: a pause of a second
    assert client.reply()[:3] == "220"
    assert mail(client, side.recipient)[:3] == "250"
    wait_until("its network to be known", lambda: greeted(pool[1], side)[0].startswith("220 "))
    assert [greeted(address, side)[0][:4] for address in pool[1:]] == ["220 "] * 19
    assert put_off(side) == 0
    assert put_off(them) >= 1  # each new address is put off by its tests after the greeting
    assert 'action="defer"} 0.0' in gatekeeper.get("/metrics")
