"""Has this sender tried before? What is in doubt and comes from nobody known is put off once (RFC 6647).

Most programs that send spam never try again; every mail server does. So that no wanted mail waits for it, only mail in
doubt is asked about (`[policy] greylist`), and who is known is not: who came back once, who has sent wanted mail
before, whom our users have written to. Recipients do not matter. A sender is known by the domains that SPF or a
signature show to be behind the mail, so that one who sends from many addresses is put off once at most; only without
any by its network and envelope sender. A client that came back once is known whatever it sends: it has a queue.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar, Final

from gatekeeper import log, metrics
from gatekeeper.checks.base import Tools
from gatekeeper.checks.keys import client_key, identity_keys, mailbox, network_key
from gatekeeper.checks.waiting import after, next_try
from gatekeeper.dns.lists import outside, plain
from gatekeeper.model import Action, Duration, Finding, Kind, Mail, Missing, Rule, setting
from gatekeeper.store.base import Limit, Note, Store
from gatekeeper.wire.notation import read_number, read_object

WAIT = "GREYLIST_WAIT"
PASSED = "GREYLIST_PASSED"
KNOWN = "GREYLIST_KNOWN"
NOTES: Final = "greylist"
WAITING, CAME_BACK, WROTE = "wait:", "pass:", "wrote:"
MOST_WRITTEN: Final = 10_000
"""Addresses that our users wrote to, of one process, until they are in the store."""
WRITTEN_TOGETHER: Final = 500
SWEEP_EVERY: Final = 60.0
SWEPT: Final = 8
"""Of the 256 parts of those that are waited for, how many are looked through at a time."""
SWEPT_MOST: Final = 2000
_TAGGED: Final = re.compile(r"\A(?:prvs|btv1|msprvs1)=[^=]*=+(.+)\Z")
_EXTENSION: Final = re.compile(r"(?<=.)(?:\+|[-._][^-._+=]*=).*\Z")
_NUMBERS: Final = re.compile(r"[0-9]+")
MARGIN: Final = 7200.0
"""How long before its end a note is looked at as that of somebody who never came."""


@dataclass(frozen=True, slots=True)
class Greylisted:
    """Whom we wait for (the identities it is known by), since when and until when (Unix time), and how often."""

    whom: tuple[str, ...]
    first: float
    due: float
    next_try: float
    again: bool  # it has tried before, too early


@dataclass(frozen=True, slots=True)
class CameBack:
    """Somebody who had been put off: after how many seconds it tried again; `late` when nobody counted on it any more.

    `waited` is None where that was at another time.
    """

    whom: str
    waited: float | None
    late: bool = False


@dataclass(frozen=True, slots=True)
class KnownSender:
    """Why nobody has to wait: "history" (wanted mail before) or "correspondent" (our users wrote to it)."""

    whom: str
    why: str


@dataclass(slots=True)
class _Memory:
    """Of one process."""

    wrote: OrderedDict[str, float] = field(default_factory=OrderedDict)  # to be brought to the store
    told: OrderedDict[str, float] = field(default_factory=OrderedDict)  # what it was told lately
    swept_at: float = 0.0
    part: int = field(default_factory=lambda: os.getpid() % 256)


@dataclass(frozen=True)  # without slots, for what is kept of one process
class Greylist:
    """[checks.greylist]"""

    name: ClassVar[str] = "greylist"
    only_in_doubt: ClassVar[bool] = True

    wait: Duration = setting(60.0, "How long a sender is to wait before it tries again.")
    within: Duration = setting(
        86400.0, "How soon it is expected back; who comes later passes too, and is counted as late."
    )
    remember: Duration = setting(35 * 86400.0, "How long one who came back is known, from its last mail in doubt on.")
    per_network: int = setting(
        200, "How many senders of one network (/24, /56) may be waited for anew in an hour; beyond, it is one sender."
    )
    known_messages: int = setting(3, "How many messages accepted make a domain or a client known.")
    known_since: Duration = setting(86400.0, "How long ago the first of them must have been.")
    correspondents: Duration = setting(
        60 * 86400.0, "How long an address that our users wrote to is known; nothing is remembered with '0s'."
    )

    def __post_init__(self) -> None:
        if not 0 < self.wait < self.within:
            raise ValueError("wait must be above 0 and shorter than within")
        if self.remember < self.within:
            raise ValueError("remember must be at least as long as within")
        if self.per_network < 1 or self.known_messages < 1:
            raise ValueError("per_network and known_messages must be at least 1")

    def rules(self) -> Sequence[Rule]:
        return (
            Rule(
                WAIT,
                0.0,
                "The mail is in doubt and its sender not known here; it is asked to try again in a few minutes.",
                kind=Kind.RATE,
                decides=Action.GREYLIST,
                tells=True,
            ),
            Rule(PASSED, 0.0, "The sender tried again as mail servers do.", kind=Kind.RATE),
            Rule(KNOWN, 0.0, "The sender is known; it need not try again.", kind=Kind.RATE),
        )

    def foresee(self, mail: Mail) -> Sequence[str]:  # noqa: ARG002 - of no mail
        """What is found later puts off, and lets nobody in."""
        return ()

    async def inspect(self, mail: Mail, tools: Tools) -> Sequence[Finding | Missing]:
        address, sender = mail.session.address, mail.envelope.sender
        if address is None or sender is None or not outside(address) or _ours(mail, tools):
            return ()
        if _away(tools.store):
            return self._paused()
        network, now = network_key(plain(address)), tools.clock()
        whom = identity_keys(mail) or (f"{network} {_stem(mailbox(sender))}",)
        found = await self._met(mail, whom, network, tools, now)
        if found is None:
            # So that no network can fill the store, beyond a number it is one sender. Those who were met before are not
            # counted, and whoever has to wait as a part of its network finds it above when it comes back.
            limit = Limit(f"greylist:{network}", 1.0, self.per_network, self.per_network / 3600)
            if (await tools.store.take([limit], now=now))[0]:
                whom = (network,)
            found = await self._put_off(whom, mail, tools.store, now)
        if _away(tools.store):  # it has gone meanwhile, and memory has answered, which knows nobody
            return self._paused()
        return (found,)

    # --- who is known ------------------------------------------------------------------------------------------------

    async def _met(self, mail: Mail, whom: tuple[str, ...], network: str, tools: Tools, now: float) -> Finding | None:
        """What is known of these identities; None for nobody we have met."""
        client = _client(mail)
        digests = {_digest(one): one for one in (*whom, network, client)}
        sender = mail.envelope.sender
        wrote = "" if sender is None or sender.null else WROTE + _digest(mailbox(sender))
        keys = [prefix + digest for digest in digests for prefix in (WAITING, CAME_BACK)]
        notes = {n.key: n for n in await tools.store.notes(NOTES, [*keys, *([wrote] if wrote else [])], now=now)}
        for digest, one in digests.items():
            if (note := notes.get(CAME_BACK + digest)) is not None:
                if note.until - now < self.remember / 2:
                    await tools.store.put_notes([Note(NOTES, note.key, note.text, now + self.remember)])
                _count("known")
                return Finding(PASSED, CameBack(one, None), f"{one} came back before")
        if wrote in notes:
            _count("correspondent")
            return Finding(KNOWN, KnownSender(str(sender), "correspondent"), f"our users wrote to {sender}")
        waiting = {digests[digest]: note for digest in digests if (note := notes.get(WAITING + digest)) is not None}
        if waiting:
            return await self._returned(mail, whom, waiting, tools.store, now)
        if known := await self._history(mail, whom, tools, now):
            _count("history")
            return Finding(KNOWN, KnownSender(known, "history"), f"{known} has sent wanted mail before")
        return None

    async def _history(self, mail: Mail, whom: tuple[str, ...], tools: Tools, now: float) -> str:
        """Who of them has sent wanted mail for some time; "" for nobody."""
        asked = [*(one for one in whom if one.startswith("dom:")), _client(mail)]
        for one, history in zip(asked, await tools.store.history(asked), strict=True):
            if history.wanted(messages=self.known_messages, before=now - self.known_since):
                return one
        return ""

    async def _returned(
        self, mail: Mail, whom: tuple[str, ...], waiting: dict[str, Note], store: Store, now: float
    ) -> Finding:
        """Somebody who was put off tries again: early, in time, or late. `waiting` is under which identities."""
        firsts = [first for note in waiting.values() if (first := _first(note, now)) <= now]
        if not firsts:  # the clock was set back since: it begins anew
            await store.drop_notes(NOTES, [note.key for note in waiting.values()])
            return await self._put_off(tuple(waiting), mail, store, now)
        first = min(firsts)
        if now < first + self.wait:
            _count("early")
            return self._waits(tuple(waiting), mail, first=first, now=now, again=True)
        late = now > first + self.within
        text = json.dumps({"first": first, "came": now})
        known = dict.fromkeys([*waiting, *whom, _client(mail)])
        await store.put_notes([Note(NOTES, CAME_BACK + _digest(one), text, now + self.remember) for one in known])
        await store.drop_notes(NOTES, [note.key for note in waiting.values()])
        _count("late" if late else "passed")
        who = next(iter(waiting))
        text = f"{who} tried again after {now - first:.0f} s"
        return Finding(PASSED, CameBack(who, round(now - first, 3), late), text)

    # --- who is put off ----------------------------------------------------------------------------------------------

    async def _put_off(self, whom: tuple[str, ...], mail: Mail, store: Store, now: float) -> Finding:
        client = str(mail.session.address)
        sender = "" if mail.envelope.sender is None else str(mail.envelope.sender)[:200]
        first = now
        for one in whom:
            text = json.dumps({"first": now, "whom": one[:300], "client": client, "sender": sender})
            note = Note(NOTES, WAITING + _digest(one), text, now + 2 * self.within)
            if not await store.swap_note(NOTES, note.key, old=None, new=note, now=now):
                there = await store.notes(NOTES, [note.key], now=now)  # another process was faster
                first = min([first, *(_first(each, now) for each in there)])
        _count("new")
        return self._waits(whom, mail, first=first, now=now, again=False)

    def _waits(self, whom: tuple[str, ...], mail: Mail, *, first: float, now: float, again: bool) -> Finding:
        due = first + self.wait
        parts = (str(mail.session.address), str(mail.envelope.sender))
        then = next_try(room_at=due, spread=min(60.0, self.wait), parts=parts)
        text = f"Your mail server is not known here yet, try again {after(then, now=now)}"
        return Finding(WAIT, Greylisted(whom, round(first, 3), round(due, 3), then, again), text)

    def _paused(self) -> Sequence[Missing]:
        _count("paused")
        return (Missing(self.name, (WAIT,), "the store is away"),)

    # --- what is learned ---------------------------------------------------------------------------------------------

    def learn(self, mail: Mail, tools: Tools, *, passed: bool) -> None:
        """Whom our users write to, where their mail passes here."""
        if not passed or not self.correspondents:
            return
        wrote, now = self._memory.wrote, tools.clock()
        for one in mail.envelope.recipients:
            if _goes_out(mail, one.address.domain, tools):
                key = WROTE + _digest(mailbox(one.address))
                if 0 <= now - self._memory.told.get(key, -86400.0) < 86400.0:
                    continue
                wrote[key] = now
                wrote.move_to_end(key)
                if len(wrote) > MOST_WRITTEN:
                    wrote.popitem(last=False)

    async def flush(self, tools: Tools) -> None:
        memory = self._memory
        while memory.wrote:
            some = list(memory.wrote.items())[:WRITTEN_TOGETHER]
            notes = [Note(NOTES, key, "{}", at + self.correspondents) for key, at in some]
            await tools.store.put_notes(notes)
            for key, at in some:
                if memory.wrote.get(key) == at:
                    del memory.wrote[key]
                memory.told[key] = at
                memory.told.move_to_end(key)
            while len(memory.told) > MOST_WRITTEN:
                memory.told.popitem(last=False)
        now = tools.clock()
        if not 0 <= now - memory.swept_at < SWEEP_EVERY:
            memory.swept_at = now
            await self._sweep(tools.store, now)

    async def _sweep(self, store: Store, now: float) -> None:
        """Count those who never came back, a part of all at a time; of several processes one counts each."""
        never: list[Mapping[str, Any]] = []
        for _ in range(SWEPT):
            memory = self._memory
            prefix, memory.part = f"{WAITING}{memory.part:02x}", (memory.part + 1) % 256
            for note in await store.notes(NOTES, prefix=prefix, now=now, limit=SWEPT_MOST):
                if note.until - now > min(MARGIN, self.within):
                    continue
                if await store.swap_note(NOTES, note.key, old=note.text, new=None, now=now):
                    never.append(read_object(note.text))
            await asyncio.sleep(0)
        if never:
            metrics.GREYLIST["never"].inc(len(never))
            shown = [f"{one.get('client', '')} {one.get('sender', '')}" for one in never[:5]]
            log.event("greylist_never_back", count=len(never), first=", ".join(shown))

    @cached_property
    def _memory(self) -> _Memory:
        return _Memory()


def _ours(mail: Mail, tools: Tools) -> bool:
    """Whether one of ours sends it; a mail server that sends out through us does not wait for itself."""
    recipients = [mail.recipient] if mail.recipient is not None else mail.envelope.recipients
    return mail.session.login is not None or any(_goes_out(mail, one.address.domain, tools) for one in recipients)


def _goes_out(mail: Mail, domain: str, tools: Tools) -> bool:
    """Whether that recipient is written to by one of ours: nobody else may send to other domains through us."""
    if mail.session.login is not None:
        return domain not in tools.domains
    return bool(tools.domains) and bool(domain) and domain not in tools.domains


def _client(mail: Mail) -> str:
    return "" if mail.session.address is None else client_key(plain(mail.session.address))


def _stem(mailbox: str) -> str:
    """A sender without what differs from mail to mail (VERP, BATV, SRS): its numbers, and what follows a "+" or "="."""
    local, _, domain = mailbox.rpartition("@")
    local = _TAGGED.sub(r"\1", local)
    return f"{_NUMBERS.sub('#', _EXTENSION.sub('', local) or local)}@{domain}"


def _digest(whom: str) -> str:
    return blake2b(whom.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def _first(note: Note, now: float) -> float:
    """When it tried first; now for what cannot be read."""
    first = read_number(read_object(note.text).get("first"))
    return now if first is None else first


def _away(store: Store) -> bool:
    """Whether memory stands in for the store (store/fallback.py): it knows nobody, so everybody would have to wait."""
    return bool(getattr(store, "away", False))


def _count(step: str) -> None:
    metrics.GREYLIST[step].inc()
