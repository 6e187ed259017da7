"""One message from standard input: what a mail server hands to `gatekeeper learn` for one of its users.

It ends with a status of sysexits.h(3), which Postfix and Dovecot understand: when the store is away the mail stays in
the queue, and is learned later.
"""

from __future__ import annotations

import sys
from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

import typer

from gatekeeper.cli.options import EXIT_MISTAKE, configuration, from_store
from gatekeeper.log import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gatekeeper.classifier.learning import Material, Outcome, Teacher
    from gatekeeper.config import Configuration
    from gatekeeper.model import Message
    from gatekeeper.store.base import Store

MOST = 64 * 1024 * 1024
"""Octets that are read."""


class Exit(IntEnum):
    """What it ends with."""

    OK = 0
    DATA = 65  # EX_DATAERR: there is nothing in it to learn
    TEMPORARY = 75  # EX_TEMPFAIL: it is to be tried again
    LIMIT = 77  # EX_NOPERM: its user has taught enough for a day


def from_mail(file: str, *, user: str, recipient: str, spam: bool | None) -> NoReturn:
    """Learn what a user's mail reports. `spam` None: the recipient's local part says which."""
    _guarded(lambda: _from_mail(file, user, recipient, spam))


def from_imap(file: str, *, user: str, spam: bool) -> NoReturn:
    """Learn the message itself, which a user has moved."""
    _guarded(lambda: _from_imap(file, user, spam))


def _guarded(work: object) -> NoReturn:
    """The border: whatever goes wrong with us, no mail is bounced for it."""
    assert callable(work)  # noqa: S101  # by the two above
    try:
        work()
    except typer.Exit as ended:
        raise typer.Exit(Exit.TEMPORARY if ended.exit_code == EXIT_MISTAKE else ended.exit_code) from None
    except Exception as bug:  # the one broad catch of this border
        typer.echo(printable(f"it cannot be learned now: {type(bug).__name__}: {bug}"), err=True)
        raise typer.Exit(Exit.TEMPORARY) from bug
    raise typer.Exit(Exit.OK)


def _from_mail(file: str, user: str, recipient: str, spam: bool | None) -> None:
    from gatekeeper.classifier.learning import Source, material
    from gatekeeper.message.as_received import as_received, message_of
    from gatekeeper.message.reported import reported

    octets = sys.stdin.buffer.read(MOST)
    if not user:
        return typer.echo("nothing learned: without a login nobody teaches")
    settings = configuration(file)
    report = message_of(octets)
    to = recipient or _delivered_to(report)
    if spam is None:
        spam = _said_by(to, settings)
    found = reported(report, user=user)
    learned: list[Material] = []
    for one in found:
        came = as_received(one.message, hostname=settings.hostname, subject_prefix=settings.message.edit.subject_prefix)
        learned.append(material(came.message, whole=one.whole, record=came.record))
    return _learn(settings, learned, spam=spam, teacher=_teacher(settings, user, to, Source.MAIL))


def _from_imap(file: str, user: str, spam: bool) -> None:
    from gatekeeper.classifier.learning import Source, material
    from gatekeeper.message.as_received import as_received, message_of

    octets = sys.stdin.buffer.read(MOST)
    if not user:
        return typer.echo("nothing learned: without a login nobody teaches")
    settings = configuration(file)
    prefix = settings.message.edit.subject_prefix
    came = as_received(message_of(octets), hostname=settings.hostname, subject_prefix=prefix)
    what = material(came.message, record=came.record)
    return _learn(settings, [what], spam=spam, teacher=_teacher(settings, user, "", Source.IMAP))


def _teacher(settings: Configuration, user: str, recipient: str, source: str) -> Teacher:
    from gatekeeper.classifier.learning import Source, Teacher

    domain = user.rpartition("@")[2] if "@" in user else recipient.rpartition("@")[2]
    return Teacher(user, Source(source), domain if settings.classifier.learning.per_domain else None)


def _delivered_to(report: Message) -> str:
    """Whom it was sent to, as Postfix writes it (pipe(8), flags O and D); "" where it does not stand there."""
    from gatekeeper.message.header import header_of

    for name in ("x-original-to", "delivered-to"):
        field = header_of(report).first(name)
        if field is not None:
            return field.text.strip()
    return ""


def _said_by(recipient: str, settings: Configuration) -> bool:
    """Whether it was sent to the address for spam; ends with a sentence where that is none of ours."""
    local = recipient.rpartition("@")[0].lower() or recipient.lower()
    names = settings.classifier.learning
    for name, spam in ((names.spam, True), (names.ham, False)):
        if local == name.lower() or local.startswith(name.lower() + "+"):
            return spam
    typer.echo(
        printable(
            f"sent to {recipient or 'nobody known'}, which is neither {names.spam}@ nor {names.ham}@: "
            "give flags=O or --recipient ${recipient} in master.cf"
        ),
        err=True,
    )
    raise typer.Exit(Exit.DATA)


def _learn(settings: Configuration, found: Sequence[Material], *, spam: bool, teacher: Teacher) -> None:
    import time

    from gatekeeper.classifier.learning import Lessons, Outcome
    from gatekeeper.cli.learn_near import learn
    from gatekeeper.store.fallback import Fallback

    if not found:
        typer.echo("nothing to learn: forward the message as an attachment", err=True)
        raise typer.Exit(Exit.DATA)

    async def learned(store: Store) -> list[Outcome]:
        # Memory would take it and forget it: the store itself, or a failure.
        lasting = store.primary if isinstance(store, Fallback) else store
        lessons = Lessons(lasting, settings.classifier.learning, time.time)
        return [await learn(lasting, lessons, one, spam=spam, teacher=teacher) for one in found]

    outcomes = Counter(from_store(settings, learned))
    word = "spam" if spam else "ham"
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    typer.echo(f"{word} from {printable(teacher.by)}: {told}")
    if outcomes[Outcome.LIMITED]:
        limit = settings.classifier.learning.per_user_day
        typer.echo(f"more than {limit} messages in 24 hours are not learned: try again tomorrow", err=True)
        raise typer.Exit(Exit.LIMIT)
    if outcomes[Outcome.EMPTY] == len(found):
        raise typer.Exit(Exit.DATA)
