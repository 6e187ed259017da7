"""`python -m bench.dns_cost`: CPU of the resolver and of ten lists: for a cached answer, and for a question sent.

The nameserver is the benchmark's own, in another process; what is counted is the CPU time of this one (process_time),
the least of many short rounds, since other programs share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Coroutine

from gatekeeper.bench import zone
from gatekeeper.dns.desk import Desk, Inquiry
from gatekeeper.dns.lists import DnsList, Family
from gatekeeper.dns.resolver import AiodnsResolver, Settings, Status

LISTS = [DnsList(f"list{number}.bench.example", f"L{number}", 1.0) for number in range(10)]
names = itertools.count()


async def main(rounds: int, count: int) -> None:
    server, address = zone.start(b"v=DKIM1; p=")
    try:
        one = AiodnsResolver(Settings(nameservers=(address,)))
        two = AiodnsResolver(Settings(nameservers=(address, address.replace("127.0.0.1", "127.0.0.1"))))
        desk = Desk(one)
        await one.ask("cached.bench.example", "A")
        poll = [Inquiry(each, "1.2.0.192") for each in LISTS]
        await desk.poll(poll, Family.IPV4, resolver=one)

        async def cached() -> None:
            await one.ask("cached.bench.example", "A")

        async def sent() -> None:
            answer = await one.ask(f"n{next(names)}.bench.example", "A")
            assert answer.status is Status.NXDOMAIN, answer

        async def sent_to_the_first_of_two() -> None:
            answer = await two.ask(f"n{next(names)}.bench.example", "A")
            assert answer.status is Status.NXDOMAIN, answer

        async def ten_lists_cached() -> None:
            await desk.poll(poll, Family.IPV4, resolver=one)

        async def ten_lists_asked() -> None:
            number = next(names)
            inquiries = [Inquiry(each, f"{number}.x") for each in LISTS]
            votes = await desk.poll(inquiries, Family.IPV4, resolver=one)
            assert not any(vote.why for vote in votes), votes

        print(f"{'µs of CPU':>10}")
        for about, work, share, together in (
            ("a cached answer", cached, 1, 1),
            ("a cached answer, of ten lists asked together", ten_lists_cached, 10, 1),
            ("a question sent", sent, 1, 20),
            ("a question sent to the first of two nameservers", sent_to_the_first_of_two, 1, 20),
            ("a question sent, of ten lists asked together", ten_lists_asked, 10, 5),
        ):
            least = min([await _cost(work, count // share, together) for _ in range(rounds)])
            print(f"{least / share * 1e6:10.1f}  {about}")
        await one.close()
        await two.close()
    finally:
        server.terminate()


async def _cost(work: Callable[[], Awaitable[None]], count: int, together: int) -> float:
    """CPU seconds of one, so many at a time."""

    async def some(number: int) -> None:
        for _ in range(number):
            await work()

    began = time.process_time()
    await asyncio.gather(*(some(count // together) for _ in range(together)))
    return (time.process_time() - began) / (count // together * together)


def run(work: Coroutine[object, object, None]) -> None:
    """asyncio.run, on uvloop where it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.dns_cost", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--count", type=int, default=400)
    given = parser.parse_args()
    run(main(given.rounds, given.count))
