"""`gatekeeper store migrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gatekeeper.cli.options import DEFAULT_FILE, ConfigFile, configuration, fail

store = typer.Typer(no_args_is_help=True, help="Look after the store.")


@store.callback()
def common() -> None:
    """Keep `migrate` a command of its own, although it is the only one."""


@store.command()
def migrate(
    source: Annotated[str, typer.Argument(metavar="[FILE]", help="The SQLite file that was used so far.")] = (
        "/var/lib/gatekeeper/state.db"
    ),
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Carry budgets, histories, blocks and records from a SQLite file to the Redis that [store] url names.

    The Redis must be empty. Name it in the configuration, run this, then reload: mail judged in between is not carried.

    Example: gatekeeper store migrate /var/lib/gatekeeper/state.db -c /etc/gatekeeper/gatekeeper.toml
    """
    import asyncio
    import time

    from rich.console import Console
    from rich.progress import Progress

    settings = configuration(config).store
    if not settings.networked:
        fail(f'{config}: [store] url is no Redis to carry it to: write url = "redis://127.0.0.1:6379/0" first')

    from gatekeeper.store.base import StoreAway, StoreUnusable
    from gatekeeper.store.migration import migrate as carry
    from gatekeeper.store.opening import is_there, open_redis

    try:
        there = is_there(Path(source)) and Path(source).is_file()
    except StoreUnusable as unusable:
        fail(str(unusable))
    if not there:
        fail(f"{source} is not there: name the file that was used so far")

    async def run(bars: Progress) -> dict[str, int]:
        tasks = {}

        def progress(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done, total=total)

        target = open_redis(settings)
        try:
            return await carry(Path(source), target, now=time.time(), progress=progress)
        finally:
            await target.close()

    try:
        with Progress(console=Console(stderr=True)) as bars:
            carried = asyncio.run(run(bars))
    except (StoreAway, StoreUnusable) as wrong:
        fail(str(wrong))
    typer.echo("carried: " + ", ".join(f"{count} {name}" for name, count in carried.items()))
