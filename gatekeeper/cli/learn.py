"""`gatekeeper learn spam|ham|list|undo`, and what mail servers call for their users."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli import screen
from gatekeeper.cli.learn_mail import from_imap, from_mail
from gatekeeper.cli.options import (
    DEFAULT_FILE,
    EXIT_NEGATIVE,
    AsJson,
    ConfigFile,
    configuration,
    fail,
    from_store,
    moment,
    who,
)

if TYPE_CHECKING:
    from gatekeeper.classifier.learning import Lessons, Taught
    from gatekeeper.config import Configuration
    from gatekeeper.store.base import Store

SHORT = 10
"""Signs of an id that the table shows; any beginning that is but one lesson's names it."""

learn = typer.Typer(invoke_without_command=True)

Paths = Annotated[
    list[Path] | None, typer.Argument(metavar="PATH...", help="Messages, Maildirs, mboxes, or directories of them.")
]
ByMail = Annotated[
    bool, typer.Option("--mail", help="Read one mail from standard input in which a user reports others.")
]
ByImap = Annotated[bool, typer.Option("--imap", help="Read one message from standard input that a user has moved.")]
User = Annotated[
    str,
    typer.Option(metavar="LOGIN", help="Who teaches, as the mail server knows; with an empty one nothing is learned."),
]
ForDomain = Annotated[
    str, typer.Option("--domain", metavar="DOMAIN", help="Let it count for mail to this domain alone.")
]


@learn.callback()
def common(
    context: typer.Context,
    mail: ByMail = False,
    user: User = "",
    recipient: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Whom the mail was sent to: says whether it reports spam or ham.")
    ] = "",
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Teach gatekeeper what is spam here and what is not, and take it back.

    With --mail and no command it reads one mail, as a pipe of Postfix hands it over: the recipient says what it is.

    Example: gatekeeper learn --mail --user ann@example.org --recipient spam@example.org < mail.eml
    """
    if context.invoked_subcommand is not None:
        return
    if not mail:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    from_mail(config, user=user, recipient=recipient, spam=None)


@learn.command("spam")
def spam(
    paths: Paths = None,
    *,
    mail: ByMail = False,
    imap: ByImap = False,
    user: User = "",
    domain: ForDomain = "",
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Learn that messages are spam.

    Example: gatekeeper learn spam ~/Maildir/.Junk
    """
    _teach(paths, mail=mail, imap=imap, user=user, domain=domain, file=config, as_spam=True)


@learn.command("ham")
def ham(
    paths: Paths = None,
    *,
    mail: ByMail = False,
    imap: ByImap = False,
    user: User = "",
    domain: ForDomain = "",
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Learn that messages are wanted.

    Example: gatekeeper learn ham ~/Maildir/.Archive old.mbox
    """
    _teach(paths, mail=mail, imap=imap, user=user, domain=domain, file=config, as_spam=False)


@learn.command("list")
def show(
    *,
    user: Annotated[str, typer.Option(metavar="LOGIN", help="What this user taught.")] = "",
    since: Annotated[str, typer.Option(metavar="WHEN", help='From then on: "2h" (ago), "2026-11-02T10:30".')] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most, the newest first.")] = 50,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Show what was learned: when, from whom, and which message it was.

    Example: gatekeeper learn list --user ann@example.org --since 2d
    """
    settings, now = configuration(config), time.time()
    start = moment(since, now=now) if since else 0.0
    found = from_store(settings, lambda store: _taught(_lessons(store, settings), user or None, start))
    found.sort(key=lambda one: (-one.at, one.id))
    if as_json:
        typer.echo(json.dumps([_plain(one) for one in found[:limit]]))
        return
    if not found:
        typer.echo("nothing was learned", err=True)
        return
    _table(found[:limit])
    classes = Counter("spam" if one.spam else "ham" for one in found)
    typer.echo(f"{classes['spam']} spam and {classes['ham']} ham, {min(limit, len(found))} shown", err=True)


@learn.command("undo")
def undo(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="As `learn list` shows them, or the beginning.")
    ] = None,
    *,
    user: Annotated[str, typer.Option(metavar="LOGIN", help="Take back what this user taught.")] = "",
    since: Annotated[str, typer.Option(metavar="WHEN", help='What was taught from then on: "2h" (ago).')] = "",
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Take back lessons, as if they had never been given. What others said of the same messages stays.

    Exit status 1 when there was nothing to take back.

    Example: gatekeeper learn undo --user ann@example.org --since 2d
    """
    if not ids and not user:
        fail("name the lessons by their ids (gatekeeper learn list), or whose they are with --user")
    settings, now = configuration(config), time.time()
    start = moment(since, now=now) if since else 0.0

    from gatekeeper.cli.learn_near import undo as undo_one

    async def taken_back(store: Store) -> int:
        lessons = _lessons(store, settings)
        known = await _taught(lessons, user or None, start)
        named = known if not ids else [one for beginning in ids for one in _named(beginning, known)]
        by = user or None
        return sum([await undo_one(lasting(store), lessons, one, by=by, since=start) for one in dict.fromkeys(named)])

    count = from_store(settings, taken_back)
    typer.echo(f"taken back: {count}")
    if not count:
        raise typer.Exit(EXIT_NEGATIVE)


def _teach(
    paths: list[Path] | None, *, mail: bool, imap: bool, user: str, domain: str, file: str, as_spam: bool
) -> None:
    if mail + imap + bool(paths) != 1:
        fail("name messages, Maildirs or mboxes; or one of --mail and --imap, to read from standard input")
    if mail:
        from_mail(file, user=user, recipient="", spam=as_spam)
    if imap:
        from_imap(file, user=user, spam=as_spam)
    _from_files(configuration(file), paths or [], domain=domain, as_spam=as_spam, by=user or who())


def _from_files(settings: Configuration, paths: list[Path], *, domain: str, as_spam: bool, by: str) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from gatekeeper.classifier.learning import Outcome, Source, Teacher, kind_of, material
    from gatekeeper.cli.learn_files import found, messages
    from gatekeeper.cli.learn_near import learn
    from gatekeeper.message.as_received import as_received, message_of

    if domain and kind_of(domain) == kind_of(None):
        fail(f'"{domain}" is not a domain')
    try:
        files = found(paths)
    except OSError as failure:
        fail(f"{failure.filename} cannot be read: {failure.strerror}")
    teacher = Teacher(by, Source.COMMAND, domain or None)
    prefix = settings.message.edit.subject_prefix
    unread: list[str] = []

    async def learned(store: Store) -> Counter[Outcome]:
        lessons, outcomes = _lessons(store, settings), Counter[Outcome]()
        with Progress(console=Console(stderr=True), transient=True) as bar:
            for file in bar.track(files, description="learning"):
                try:
                    for octets in messages(file):
                        came = as_received(message_of(octets), hostname=settings.hostname, subject_prefix=prefix)
                        what = material(came.message, record=came.record)
                        outcomes[await learn(lasting(store), lessons, what, spam=as_spam, teacher=teacher)] += 1
                except OSError as failure:
                    unread.append(f"{file} cannot be read: {failure.strerror}")
        return outcomes

    outcomes = from_store(settings, learned)
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) or "no message found"
    typer.echo(f"{'spam' if as_spam else 'ham'}: {told}")
    for sentence in unread:
        typer.echo(screen.text(sentence).plain, err=True)
    if unread or not outcomes:
        raise typer.Exit(EXIT_NEGATIVE)


def _lessons(store: Store, settings: Configuration) -> Lessons:
    from gatekeeper.classifier.learning import Lessons

    return Lessons(lasting(store), settings.classifier.learning, time.time)


def lasting(store: Store) -> Store:
    """The store itself: memory that stands in for it would forget, and knows nothing."""
    from gatekeeper.store.fallback import Fallback

    return store.primary if isinstance(store, Fallback) else store


async def _taught(lessons: Lessons, user: str | None, since: float) -> list[Taught]:
    return [
        one async for one in lessons.taught() if any(act.at >= since and user in {None, act.by} for act in one.acts)
    ]


def _named(beginning: str, known: list[Taught]) -> list[Taught]:
    """The lesson whose id begins so; more than one where several domains were taught of the same message."""
    found = [one for one in known if one.id.startswith(beginning.lower())]
    if len({one.id for one in found}) != 1:
        fail(f"{beginning}: " + ("more than one lesson begins so" if found else "no such lesson"))
    return found


def _plain(one: Taught) -> dict[str, object]:
    acts = [
        {"by": act.by, "source": act.source, "time": act.at, "class": "spam" if act.spam else "ham"} for act in one.acts
    ]
    about = {"message_id": one.message_id, "record": one.record}
    return {"id": one.id, "kind": one.kind, "class": "spam" if one.spam else "ham", "acts": acts, **about}


def _table(shown: list[Taught]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("when", "id", "class", "by", "how", "for", "record", "message"):
        table.add_column(title, no_wrap=True)
    for one in shown:
        last = one.acts[-1]
        table.add_row(
            screen.text(screen.local_time(last.at)),
            screen.text(one.id[:SHORT]),
            screen.text("spam" if one.spam else "ham", "yellow" if one.spam else "green"),
            screen.text(", ".join(dict.fromkeys(act.by for act in one.acts))),
            screen.text(last.source),
            screen.text(one.kind.removeprefix("domain:")),
            screen.text(one.record),
            screen.text(one.message_id),
        )
    screen.console().print(table)
