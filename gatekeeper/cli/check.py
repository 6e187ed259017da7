"""`gatekeeper check FILE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatekeeper.cli.explain import sentences, show
from gatekeeper.cli.options import DEFAULT_FILE, EXIT_NEGATIVE, AsJson, ConfigFile, configuration, fail

if TYPE_CHECKING:
    from gatekeeper.model import Address, IPAddress


def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help='The message; "-" is standard input.')],
    *,
    ip: Annotated[str, typer.Option("--ip", metavar="ADDRESS", help="The client's address.")] = "",
    helo: Annotated[str, typer.Option("--helo", metavar="NAME", help="What it said to be.")] = "",
    sender: Annotated[
        str | None, typer.Option("--from", metavar="ADDRESS", help='The envelope sender; "<>" is the null sender.')
    ] = None,
    recipients: Annotated[
        list[str] | None, typer.Option("--rcpt", metavar="ADDRESS", help="An envelope recipient; may be repeated.")
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = DEFAULT_FILE,
) -> None:
    """Judge a message as if it had come in: the same checks, the same verdict. Nothing is sent or kept.

    What is not given counts as unknown. Exit status 0 for accept and tag, 1 for defer and reject.

    Example: gatekeeper check mail.eml --ip 192.0.2.1 --helo mx.example.net --from a@example.net --rcpt b@example.org
    """
    import asyncio

    from gatekeeper import app
    from gatekeeper.records.answer import answer
    from gatekeeper.records.explain import explain, to_json

    client = _ip(ip) if ip else None
    envelope_sender = None if sender is None else _address(sender, "--from")
    envelope_recipients = [_address(each, "--rcpt") for each in recipients or ()]
    settings = configuration(config)
    try:
        result = asyncio.run(
            app.check_message(
                settings,
                _read(file),
                ip=client,
                helo=helo or None,
                sender=envelope_sender,
                recipients=envelope_recipients,
            )
        )
    except app.Unfit as unfit:
        fail(str(unfit))
    explanation = explain(result.record, sentences(settings))
    if as_json:
        typer.echo(json.dumps(to_json(explanation) | answer(explanation)))
    else:
        show(explanation)
    if result.verdict.action.refuses:
        raise typer.Exit(EXIT_NEGATIVE)


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as failure:
        fail(f"{file} cannot be read: {failure.strerror}")


def _ip(text: str) -> IPAddress:
    from ipaddress import ip_address

    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        raise typer.BadParameter(f'"{text}" is not an IP address', param_hint="--ip") from None


def _address(text: str, option: str) -> Address:
    from gatekeeper.wire.address import AddressError, parse_path

    inside = text[1:-1] if text.startswith("<") and text.endswith(">") else text
    try:
        return parse_path(inside)
    except AddressError as wrong:
        raise typer.BadParameter(f'"{text}": {wrong}', param_hint=option) from None
