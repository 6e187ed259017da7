"""What several commands take and say alike: the configuration file, moments in time, and how a mistake ends."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from gatekeeper.log import printable

if TYPE_CHECKING:
    from gatekeeper.config import Configuration
    from gatekeeper.store.base import Store

T = TypeVar("T")

EXIT_NEGATIVE = 1
EXIT_MISTAKE = 2
DEFAULT_FILE = "/etc/gatekeeper/gatekeeper.toml"

ConfigFile = Annotated[
    str, typer.Option("--config", "-c", envvar="GATEKEEPER_CONFIG", metavar="FILE", help="The configuration file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text for people.")]


def fail(*sentences: str) -> NoReturn:
    """End with a sentence on standard error; the mistake is the operator's, so there is no traceback."""
    for sentence in sentences:
        typer.echo(printable(sentence), err=True)
    raise typer.Exit(EXIT_MISTAKE)


def configuration(file: str) -> Configuration:
    """The configuration in that file, or the end of the program with everything that is wrong with it.

    From then on what goes wrong is told on standard error: where the log goes is for the server to know.
    """
    from gatekeeper import log
    from gatekeeper.config import ConfigurationError, load

    try:
        found = load(file)
    except ConfigurationError as wrong:
        fail(*map(str, wrong.problems))
    log.setup(log.Settings(level="warning", destination="stderr"))
    return found


def from_store(settings: Configuration, ask: Callable[[Store], Awaitable[T]]) -> T:
    """What `ask` gets out of the store of that configuration, or the end of the program with a sentence."""
    import asyncio

    from gatekeeper.store.base import StoreAway, StoreUnusable
    from gatekeeper.store.opening import is_there, open_store

    path = settings.store.path
    if path is None and not settings.store.networked:
        fail('[store] url is "memory:", which no other program can look into')
    try:
        absent = path is not None and not is_there(path)
    except StoreUnusable as unusable:
        fail(str(unusable))
    if absent:  # opening it would make it, and as the wrong user
        fail(f"{path} is not there: gatekeeper has not run with this configuration yet")
    changes: list[bool] = []

    async def asked() -> T:
        store = open_store(settings.store, on_change=changes.append)
        try:
            return await ask(store)
        finally:
            await store.close()

    try:
        found = asyncio.run(asked())
    except (StoreUnusable, StoreAway) as wrong:
        fail(str(wrong))
    if False in changes:  # memory answered instead: it knows nothing, which is not an answer
        fail(f"{path or settings.store.url} does not answer: try again")
    return found


def who() -> str:
    """The user who called the command, for whoever looks at it later; "" where that user has no name."""
    import getpass
    import os

    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return ""


def moment(text: str, *, now: float) -> float:
    """Unix time of "2h" (so long ago), "2026-11-02" or "2026-11-02T10:30" (local time unless it has a zone).

    Raises typer.BadParameter.
    """
    from gatekeeper.config import units

    if re.fullmatch(r"[0-9.]+[a-z]+", text):
        try:
            return now - units.duration(text)
        except ValueError as wrong:
            raise typer.BadParameter(str(wrong)) from None
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(
            f'"{text}" is not a time: write "2h" (ago), "2026-11-02" or "2026-11-02T10:30"'
        ) from None
