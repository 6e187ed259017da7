"""`gatekeeper dnsbl lookup ADDRESS|NAME|MAILBOX`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli import screen
from gatekeeper.cli.dnsbl_test import fresh_of, said
from gatekeeper.cli.options import DEFAULT_FILE, EXIT_NEGATIVE, AsJson, ConfigFile, configuration, fail

if TYPE_CHECKING:
    from gatekeeper.config import Configuration
    from gatekeeper.dns.answer import Answer
    from gatekeeper.dns.health import Target


@dataclass(frozen=True, slots=True)
class Found:
    """What one list said, what it said about something that cannot be listed, and how it stands as far as is known."""

    target: Target
    answer: Answer
    control: Answer
    health: str

    @property
    def listed(self) -> bool:
        """Whether it would count."""
        from gatekeeper.dns.lists import judge

        well = self.control.certain and not self.control.records
        return well and bool(judge(self.answer.records, self.target.list.meaning).listed)

    @property
    def codes(self) -> str:
        from gatekeeper.dns.lists import judge

        if not self.answer.records:
            return ""
        judged = judge(self.answer.records, self.target.list.meaning)
        if judged.refused:
            return "no listing: refused, or an answer that no list gives"
        return ", ".join(each.name or "listed" for each in judged.listed) or "none that is declared"


def lookup(
    subject: Annotated[
        str, typer.Argument(metavar="ADDRESS|NAME|MAILBOX", help="An IP address, a domain, or a mail address.")
    ],
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Ask all lists about somebody, past every cache of ours: codes, TTL, control question, health.

    Lists of domains are asked about what was registered of a name or about the whole name, as they are configured.

    Exit status 0 when no list names it, 1 when one does, 2 for a wrong configuration.

    Example: gatekeeper dnsbl lookup 192.0.2.1
    """
    import asyncio

    settings = configuration(config)
    asked = _asked(settings, subject)
    if not asked:
        fail("no list of the configuration is asked about that")
    found = asyncio.run(_look_up(settings, asked))
    if as_json:
        typer.echo(json.dumps([_plain(each) for each in found]))
    else:
        _show(found)
    if any(each.listed for each in found):
        raise typer.Exit(EXIT_NEGATIVE)


def _asked(settings: Configuration, subject: str) -> list[tuple[str, Target]]:
    """What stands before each zone, and the lists that are asked."""
    import ipaddress

    from gatekeeper.dns.lists import Family, plain, reversed_labels
    from gatekeeper.watch import listed_targets

    targets = listed_targets(settings.checks)
    try:
        address = plain(ipaddress.ip_address(subject.strip("[]")))
    except ValueError:
        return [(labels, target) for target in targets for labels in _labels(target, subject)]
    family = Family.IPV4 if address.version == 4 else Family.IPV6
    return [(reversed_labels(address), each) for each in targets if each.family is family]


def _labels(target: Target, subject: str) -> list[str]:
    """What a list is asked about a domain or a mail address; nothing where it is for something else."""
    from gatekeeper.dns.lists import Family
    from gatekeeper.dns.name_lists import NameList
    from gatekeeper.message.domains import registered_domain
    from gatekeeper.wire.address import normal_domain

    local, at, domain = subject.strip("<>").rpartition("@")
    name = normal_domain(domain)
    if name is None or (at and not local):
        raise typer.BadParameter(
            f'"{subject}" is neither an IP address nor a domain nor a mail address', param_hint="ADDRESS|NAME|MAILBOX"
        )
    each = target.list
    if not isinstance(each, NameList) or target.family not in {Family.NAMES, Family.HASHES}:
        return []
    if each.hashes or at:
        return [each.labels_of_mailbox(f"{local}@{name}")] if each.hashes and at else []
    registered = registered_domain(name) or name
    return list(dict.fromkeys({"domain": [registered], "name": [name], "both": [registered, name]}[each.ask]))


async def _look_up(settings: Configuration, asked: list[tuple[str, Target]]) -> list[Found]:
    import asyncio
    import random

    fresh = await fresh_of(settings)
    healths = await _healths(settings)
    dice = random.SystemRandom()

    async def one(labels: str, target: Target) -> Found:
        zone = target.list.suffix
        answer = await fresh.ask(f"{labels}.{zone}")
        control = await fresh.ask(f"{target.list.control_labels(target.family, dice)}.{zone}")
        return Found(target, answer, control, healths.get(target.key, "untested"))

    return list(await asyncio.gather(*(one(*each) for each in asked)))


async def _healths(settings: Configuration) -> dict[str, str]:
    """By key, what the running gatekeeper thinks of its lists; empty where it keeps that to itself."""
    import time

    from gatekeeper.dns.health import from_note
    from gatekeeper.store.base import StoreAway, StoreUnusable
    from gatekeeper.store.opening import open_store
    from gatekeeper.watch import STATES, host

    path = settings.store.path
    try:
        if path is None or not path.exists():
            return {}
        store = open_store(settings.store)
        try:
            notes = await store.notes(STATES, prefix=f"{host()} ", now=time.time())
        finally:
            await store.close()
    except (StoreAway, StoreUnusable, PermissionError):
        return {}
    found = {}
    for note in notes:
        try:
            found[note.key.removeprefix(f"{host()} ")] = from_note(note.text).state.value
        except ValueError:
            continue
    return found


def _plain(found: Found) -> dict[str, object]:
    return {
        "list": found.target.name,
        "zone": found.target.list.shown,
        "listed": found.listed,
        "answer": said(found.answer),
        "codes": found.codes,
        "ttl": round(found.answer.ttl) if found.answer.records else None,
        "control": said(found.control),
        "health": found.health,
    }


def _show(found: list[Found]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    headings = ("list", "zone", "answer", "codes", "ttl", "control", "health")
    for heading in headings:
        table.add_column(heading, justify="right" if heading == "ttl" else "left", overflow="fold")
    for each in found:
        plain = _plain(each)
        style = "red" if each.listed else ""
        cells = ("" if plain[heading] is None else plain[heading] for heading in headings)
        table.add_row(*(screen.text(cell, style) for cell in cells))
    screen.console().print(table)
