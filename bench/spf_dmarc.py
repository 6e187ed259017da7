"""`python -m bench.spf_dmarc`: what SPF and DMARC cost with all answers at hand, in CPU time, and what enemies can do.

Each line is the mean of many calls; of an enemy's, one call with nothing remembered. Ratios are good to some 10%.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from time import process_time
from typing import Any

from rich.console import Console
from rich.table import Table

from gatekeeper.complaints.dmarc import Settings
from gatekeeper.complaints.dmarc_evidence import Evidence
from gatekeeper.dns.resolver import Answer, Status
from gatekeeper.mailauth.dkim import DkimResult, DkimResults
from gatekeeper.mailauth.dkim_signature import DkimCode
from gatekeeper.mailauth.dmarc import evaluate
from gatekeeper.mailauth.dmarc_record import record_of
from gatekeeper.mailauth.spf import Claim, check_host, forget, helo_of, mail_from
from gatekeeper.model import Action, Address, BytesBody, Envelope, Finding, Mail, Message, Recipient, Session
from gatekeeper.store.memory import MemoryStore

LIMIT = 50.0  # milliseconds that any enemy may cost
CLIENT, SENDER = ip_address("192.0.2.1"), Address("joe", "example.com")


class Names:
    """Answers from a dict, as the shared resolver does from its cache."""

    def __init__(self, zone: dict[tuple[str, str], list[Any]]) -> None:
        self.zone = {question: Answer(Status.OK, tuple(records), 300.0) for question, records in zone.items()}
        self.none = Answer(Status.NXDOMAIN, (), 300.0)

    def cached(self, name: str, rtype: str) -> Answer | None:
        return self.zone.get((name.lower().removesuffix("."), rtype), self.none)

    async def ask(self, name: str, rtype: str) -> Answer:
        return self.zone.get((name.lower().removesuffix("."), rtype), self.none)


ORDINARY = Names(
    {
        ("example.com", "TXT"): [b"v=spf1 include:_spf.a.test include:_spf.b.test mx -all"],
        ("_spf.a.test", "TXT"): [b"v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 ?all"],
        ("_spf.b.test", "TXT"): [b"v=spf1 ip6:2001:db8::/32 ip4:192.0.2.0/28 ?all"],
        ("mx.example.com", "TXT"): [b"v=spf1 a -all"],
        ("mx.example.com", "A"): ["192.0.2.1"],
        ("_dmarc.example.com", "TXT"): [b"v=DMARC1; p=reject; rua=mailto:dmarc@example.com"],
    }
)


def txt(**records: bytes) -> Names:
    return Names({(name.replace("_", "."), "TXT"): [text] for name, text in records.items()})


def nested(depth: int) -> Names:
    return txt(example_com=b"v=spf1 include:n0.test -all") if not depth else Names(
        {("example.com", "TXT"): [b"v=spf1 include:n0.test -all"]}
        | {(f"n{n}.test", "TXT"): [f"v=spf1 include:n{n + 1}.test -all".encode()] for n in range(depth)}
    )  # fmt: skip


ENEMIES: dict[str, Names] = {
    "records that include each other": txt(
        example_com=b"v=spf1 include:b.test -all", b_test=b"v=spf1 include:example.com -all"
    ),
    "nested 12 deep": nested(12),
    "9 x 9 x 9 includes": Names(
        {("example.com", "TXT"): [b"v=spf1 " + b" ".join(b"include:t%d.test" % n for n in range(9)) + b" -all"]}
        | {
            (f"t{n}.test", "TXT"): [b"v=spf1 " + b" ".join(b"include:t%d.test" % m for m in range(9)) + b" -all"]
            for n in range(9)
        }
    ),
    "macros that expand to 300 characters": txt(
        example_com=b"v=spf1 "
        + b" ".join([b"exists:%{d}.%{h}.%{l}.%{o}.%{i}.%{d}.%{h}.%{s}.%{ir}.test"] * 10)
        + b" -all"
    ),
    "a TXT of 1 MB": txt(example_com=b"x" * 1_000_000),
    "a record of 1 MB": txt(example_com=b"v=spf1 " + b"a:x.test " * 110_000 + b"-all"),
    "a record of 8 kB, all addresses": txt(example_com=b"v=spf1 " + b"ip4:198.51.100.9 " * 480 + b"-all"),
    "1,000 TXT records": Names({("example.com", "TXT"): [b"v=spf1 -all"] * 1000}),
    "2,000 MX hosts": Names(
        {("example.com", "TXT"): [b"v=spf1 mx -all"], ("example.com", "MX"): [(1, f"m{n}.test") for n in range(2000)]}
    ),
}


async def mean(call: Callable[[], Awaitable[object]], times: int) -> float:
    """Microseconds of CPU time."""
    start = process_time()
    for _ in range(times):
        await call()
    return (process_time() - start) / times * 1e6


async def main() -> int:
    table = Table("", "µs", title="With all answers at hand")
    signed = DkimResults((DkimResult(DkimCode.PASS, "example.com", selector="s"),), 1)
    asked = mail_from(CLIENT, SENDER, "mx.example.com", "mx.test")
    spf = await check_host(ORDINARY, asked)

    async def anew(claim: Claim) -> None:
        forget()
        await check_host(ORDINARY, claim)

    async def aligned() -> None:
        await evaluate(ORDINARY, "news.example.com", spf=spf, dkim=DkimResults())

    table.add_row("SPF, two includes, known before", f"{await mean(lambda: check_host(ORDINARY, asked), 3000):.0f}")
    table.add_row("SPF, two includes, nothing remembered", f"{await mean(lambda: anew(asked), 1000):.0f}")
    helo = helo_of(CLIENT, "mx.example.com", "mx.test")
    table.add_row(
        "SPF of the client's name, known before", f"{await mean(lambda: check_host(ORDINARY, helo), 3000):.0f}"
    )
    same = mean(lambda: evaluate(ORDINARY, "example.com", spf=spf, dkim=signed), 3000)
    table.add_row("DMARC, equal domains", f"{await same:.0f}")
    table.add_row("DMARC, two tree walks", f"{await mean(aligned, 2000):.0f}")
    table.add_row("a message counted for the reports", f"{await mean(counting(), 3000):.0f}")
    console = Console()
    console.print(table)
    hostile = Table("", "result", "ms", title=f"Enemies (at most {LIMIT:.0f} ms each)")
    worst = 0.0
    for what, names in ENEMIES.items():
        forget()
        start = process_time()
        result = await check_host(
            names, mail_from(CLIENT, Address("x" * 60, "example.com"), "h" * 60 + ".test", "mx.test")
        )
        cost = (process_time() - start) * 1e3
        worst = max(worst, cost)
        hostile.add_row(what, result.code.value, f"{cost:.2f}")
    for what, record in {
        "DMARC: 8 kB of tags": b"v=DMARC1; " + b"a=b;" * 2000,
        "DMARC: 2,000 addresses": b"v=DMARC1; p=none; rua=" + b"a:b," * 2000,
        "DMARC: 1 MB": b"v=DMARC1; " + b"p=none;" * 140_000,
    }.items():
        start = process_time()
        record_of([record])
        cost = (process_time() - start) * 1e3
        worst = max(worst, cost)
        hostile.add_row(what, "", f"{cost:.2f}")
    console.print(hostile)
    return 0 if worst < LIMIT else 1


def counting() -> Callable[[], Awaitable[None]]:
    """Counts one message of a domain that wants reports."""
    session = Session("s", "smtp", 0.0, address=CLIENT)
    mail = Mail(session, Envelope("e", SENDER, recipients=[Recipient(Address("ann", "example.org"))]))
    mail.message = Message(b"From: joe@example.com\r\nSubject: x\r\n", BytesBody(b"text\r\n"))
    evidence = Evidence(MemoryStore(), lambda: 1.8e9, Settings(email="dmarc@example.org"))

    async def count() -> None:
        if not mail.envelope.notebook.findings:
            spf = await check_host(ORDINARY, mail_from(CLIENT, SENDER, "mx.example.com", "mx.test"))
            dmarc = await evaluate(ORDINARY, "example.com", spf=spf, dkim=DkimResults())
            mail.envelope.notebook.findings += [Finding("", spf), Finding("", dmarc), Finding("", DkimResults())]
        evidence.note(mail, Action.ACCEPT)

    return count


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
