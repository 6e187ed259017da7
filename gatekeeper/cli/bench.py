"""`gatekeeper bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from gatekeeper.cli.options import fail


def bench(
    messages: Annotated[int, typer.Option("--messages", help="How many are sent for each row.")] = 2000,
    sessions: Annotated[int, typer.Option("--sessions", help="How many are under way at once.")] = 10,
    size: Annotated[int, typer.Option("--size", help="Octets of a message.")] = 10_000,
    workers: Annotated[int, typer.Option("--workers", help="Of the gatekeeper that is measured.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Everything that was measured, for programs.")] = False,
) -> None:
    """Measure what a message costs on this machine: processor time, messages a second, latency, memory.

    A gatekeeper of its own with the embedded default and six DNS lists, a client, a next hop and a DNS server, all on
    loopback for a minute or two. Nothing that runs here is touched. Exit status 1 where a message was not accepted.

    Example: gatekeeper bench --workers 2 --sessions 50
    """
    from rich.console import Console

    from gatekeeper.bench.run import Plan, run

    try:
        plan = Plan(messages=messages, sessions=sessions, octets=size, workers=workers)
        status = run(plan, console=Console(), as_json=as_json)
    except (OSError, RuntimeError, ValueError) as wrong:
        fail(f"nothing can be measured: {wrong}")
    raise typer.Exit(status)
