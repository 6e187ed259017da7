"""The catastrophe of DNS lists with a real resolver and a real list server: unbound asks rbldnsd, which goes wrong."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatekeeper import app
from gatekeeper.config import configuration as config
from gatekeeper.dns.fresh import Fresh
from gatekeeper.dns.health import State
from gatekeeper.dns.lists import Family
from gatekeeper.model import Action, Address
from gatekeeper.servers.checking import Told, check
from gatekeeper.store.memory import MemoryStore
from gatekeeper.watch import Watch, listed_targets
from tests.peers.conftest import need
from tests.peers.instances import start_rbldnsd, start_unbound
from tests.support.mail import message_of

UNWANTED = [f"rbl{number}.test" for number in range(10)]
SPAMMERS = "198.18.0.0/15"
SOUND = f"$TTL 1\n:127.0.0.2:listed\n127.0.0.2\n{SPAMMERS}\n"
BROKEN = {
    "lists the world": (SOUND + "0.0.0.0/0 :127.0.0.2:listed\n", State.WORLD),
    "refuses us": ("$TTL 1\n0.0.0.0/0 :127.255.255.254:no\n", State.REFUSES),
    "is hijacked": ("$TTL 1\n0.0.0.0/0 :203.0.113.7:parked\n", State.WORLD),
    "lost everything": ("$TTL 1\n", State.DEAD),
}
ANSWERS = ("127.255.255.254", "203.0.113.7")
octets = itertools.cycle(range(256))
good = (ipaddress.IPv4Address(0x0B000001 + 257 * number) for number in itertools.count())
bad = (ipaddress.IPv4Address(0xC6120001 + 257 * number) for number in itertools.count())
RAW = message_of("From: a@example.net\nSubject: x\n\nx\n")


class Lists:
    """A running rbldnsd whose zones can be rewritten."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "rbl"
        self.server, port = start_rbldnsd(directory, dict.fromkeys(UNWANTED, ("ip4trie", SOUND)))
        self.resolver, self.port = start_unbound(directory, ["org. IN NS ns.org."], dict.fromkeys(UNWANTED, port))

    def hold(self, content: str, zones: list[str]) -> None:
        for zone in zones:
            (self.data / zone).write_text(content)
        self.server.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        self.resolver.stop()
        self.server.stop()


@pytest.fixture
def lists(tmp_path_factory: pytest.TempPathFactory, workplace: Path) -> Iterator[Lists]:
    need("unbound", "rbldnsd")
    directory = workplace / tmp_path_factory.mktemp("lists").name
    directory.mkdir()
    running = Lists(directory)
    yield running
    running.stop()


def settings(port: int) -> str:
    written = "".join(
        f'[[checks.dnsbl.lists]]\nzone = "{zone}"\nname = "L{n}"\nscore = 3.0\nipv6 = false\n'
        for n, zone in enumerate(UNWANTED)
    )
    off = "".join(f"[checks.{name}]\nenabled = false\n" for name in ("helo", "reverse_dns", "spf", "dkim", "dmarc"))
    return f'[dns]\nnameservers = ["127.0.0.1:{port}"]\n[store]\nurl = "memory:"\n{written}{off}'


async def judged(parts: app.Parts, address: ipaddress.IPv4Address) -> Action:
    told = Told(address=address, sender=Address("a", "example.net"), recipients=(Address("b", "example.org"),))
    raw = RAW.header + b"\r\n" + b"".join(RAW.body.chunks())
    return (await check(parts.gate, raw, told, server="check", now=0.0, keep=False)).verdict.action


async def mail(parts: app.Parts, *, caught: bool) -> None:
    """Ten good messages, none of which is refused; and five that are on every list."""
    wanted = await asyncio.gather(*(judged(parts, next(good)) for _ in range(10)))
    assert Action.REJECT not in wanted
    if caught:
        unwanted = await asyncio.gather(*(judged(parts, next(bad)) for _ in range(5)))
        assert set(unwanted) == {Action.REJECT}


@pytest.mark.parametrize("zones", [UNWANTED[4:5], UNWANTED], ids=["one list", "all lists"])
async def test_no_good_mail_is_refused_whatever_the_lists_do(lists, zones):
    configuration = config.read(settings(lists.port), "f")
    parts = app.assemble(configuration, MemoryStore())
    now = [1_800_000_000.0]

    async def fresh() -> Fresh:
        return Fresh([f"127.0.0.1:{lists.port}"], timeout=1.0)

    watch = Watch(
        listed_targets(configuration.checks),
        fresh,
        desk=parts.desk,
        store=parts.store,
        recorder=parts.recorder,
        clock=lambda: now[0],
        lists_every=300.0,
        resolver_every=3600.0,
    )
    targets = [target for target in listed_targets(configuration.checks) if target.list.zone in zones]

    async def served(content: str) -> None:
        """Until rbldnsd has read that and unbound passes it on."""
        asking, name = await fresh(), f"2.0.0.127.{zones[0]}"
        expected = next((each for each in ANSWERS if each in content), "127.0.0.2" if "127.0.0.2\n" in content else "")
        async with asyncio.timeout(20):
            while (await asking.ask(name)).records != ((expected,) if expected else ()):  # noqa: ASYNC110  # another program
                await asyncio.sleep(0.05)
            while bool((await asking.ask(f"{next(octets)}.1.130.127.{zones[0]}")).records) != ("0.0.0.0/0" in content):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def until(state: State) -> None:
        end = now[0] + 300
        while {parts.desk.health(target.list, Family.IPV4).state for target in targets} != {state}:
            now[0] = max(now[0], watch.next_due)
            assert now[0] < end, f"not {state.value} in time"
            await watch.turn()

    try:
        await until(State.OK)
        for content, state in BROKEN.values():
            await mail(parts, caught=True)
            lists.hold(content, zones)
            await mail(parts, caught=len(zones) == 1)
            await served(content)
            await until(state)
            await mail(parts, caught=len(zones) == 1)
            lists.hold(SOUND, zones)
            await served(SOUND)
            await until(State.OK)
        await mail(parts, caught=True)
        lists.server.stop()
        await mail(parts, caught=False)
    finally:
        await parts.close()
