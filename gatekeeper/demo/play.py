"""The demonstration itself: starts everything on loopback, plays the scenes, shows what became of each."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import signal
import smtplib
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gatekeeper.demo import scenes
from gatekeeper.demo.next_hop import MaildirNextHop
from gatekeeper.demo.zone import ZoneServer
from gatekeeper.mailauth import dkimpy
from gatekeeper.records.document import Record, points
from gatekeeper.records.find import find
from gatekeeper.store.base import RecordQuery, Store
from gatekeeper.store.opening import Settings as StoreSettings
from gatekeeper.store.opening import open_store

WRITTEN_BY = "# Written by `gatekeeper demo`"
READY_WITHIN = 30.0
RECORDS_WITHIN = 10.0
_ID = re.compile(r"\(id ([0-9A-Z]+)\)")
_COLOURS = {"accept": "green", "tag": "yellow", "defer": "magenta", "reject": "red", "drop": "bold red"}
SMTP_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Played:
    """A scene, the answer its client got, and the record that was kept of it, if one was."""

    scene: scenes.Scene
    answer: str
    record: Record | None


def run(directory: Path, *, smtp_port: int, http_port: int, stay: bool, console: Console) -> int:
    """Until interrupted (or until the table is shown, without `stay`). The exit status."""
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    begin_anew(directory)
    try:
        return asyncio.run(_run(directory, _port(smtp_port), _port(http_port), stay=stay, console=console))
    except KeyboardInterrupt:
        return 0


def begin_anew(directory: Path) -> None:
    """Forget what an earlier demonstration left there, but its mail: the harvester is not to begin refused.

    Raises FileExistsError for files that are not a demonstration's.
    """
    config = directory / "gatekeeper.toml"
    old = [config, directory / "gatekeeper.log", *directory.glob("state.db*")]
    if any(path.exists() for path in old) and not (config.is_file() and config.read_text().startswith(WRITTEN_BY)):
        raise FileExistsError(f"{directory} holds another gatekeeper's files; choose a directory with --directory")
    for path in old:
        path.unlink(missing_ok=True)


async def _run(directory: Path, smtp_port: int, http_port: int, *, stay: bool, console: Console) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    private, record = _key()
    next_hop = MaildirNextHop(directory, scenes.DOMAIN, scenes.NAMES)
    zone = ZoneServer(scenes.world(record))
    config = directory / "gatekeeper.toml"
    with console.status("starting gatekeeper on its embedded default"):
        config.write_text(
            _settings(
                directory, smtp=smtp_port, http=http_port, next_hop=await next_hop.open(), nameserver=await zone.open()
            )
        )
    try:
        async with _gatekeeper(directory, config) as child:
            played = []
            cast = scenes.scenes(lambda message: _signed(message, private))
            for n, scene in enumerate(cast, 1):
                with console.status(f"{n} of {len(cast)}: {scene.title}"):
                    played.append((scene, await asyncio.to_thread(_play, scene, smtp_port)))
            with console.status("reading the records"):
                shown = await _with_records(directory, played)
            console.print(table(shown, columns=console.width))
            _explain(console, directory, config, smtp_port, http_port)
            if stay:
                console.print("\nStays up until you press Ctrl-C.")
                ended = asyncio.create_task(child.wait())
                stopped = asyncio.create_task(stop.wait())
                await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                if not stop.is_set():
                    console.print(f"gatekeeper has ended by itself; see {directory / 'gatekeeper.log'}", style="red")
                    return 1
        return 0
    finally:
        zone.close()
        await next_hop.close()


def _port(wanted: int) -> int:
    """That port, or a free one when somebody has it."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as found:
            return int(found.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def _key() -> tuple[bytes, str]:
    """A signing key and its DNS record (RFC 6376 §3.6.1)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()
    return private, " ".join(f'"{text[i : i + 200]}"' for i in range(0, len(text), 200))


def _signed(message: bytes, private: bytes) -> bytes:
    return dkimpy.sign(message, domain="friend.example", selector="demo", private_key=private) + message


def _settings(directory: Path, *, smtp: int, http: int, next_hop: int, nameserver: int) -> str:
    return f"""{WRITTEN_BY}; every setting is explained in config/gatekeeper.toml.
hostname = "mx.{scenes.DOMAIN}"
relay_domains = ["{scenes.DOMAIN}"]
[servers.smtp]
listen = ["127.0.0.1:{smtp}"]
next_hop = "smtp://127.0.0.1:{next_hop}"
trust = ["127.0.0.1/32"]
[servers.http]
listen = ["127.0.0.1:{http}"]
[supervisor]
workers = 1
[dns]
nameservers = ["127.0.0.1:{nameserver}"]
[store]
url = "sqlite:{directory}/state.db"
{scenes.SETTINGS}"""


@contextlib.asynccontextmanager
async def _gatekeeper(directory: Path, config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`gatekeeper run` as a child, ready; ended on leaving."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, (directory / "gatekeeper.log").open("ab") as log:
        notify.bind(f"\0gatekeeper-demo-{os.getpid()}")
        notify.setblocking(False)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gatekeeper", "run", "-c", str(config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "NOTIFY_SOCKET": f"@gatekeeper-demo-{os.getpid()}"},
            start_new_session=True,
        )
        try:
            try:
                await asyncio.wait_for(_ready(notify, child), READY_WITHIN)
            except (TimeoutError, EOFError):
                raise RuntimeError(f"gatekeeper did not start; see {directory / 'gatekeeper.log'}") from None
            yield child
        finally:
            if child.returncode is None:
                child.terminate()
                await child.wait()


async def _ready(notify: socket.socket, child: asyncio.subprocess.Process) -> None:
    """Until the child says READY=1; EOFError when it ends instead."""
    loop = asyncio.get_running_loop()
    ended = loop.create_task(child.wait())
    try:
        while True:
            said = loop.create_task(loop.sock_recv(notify, 4096))
            await asyncio.wait({said, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not said.done():
                said.cancel()
                raise EOFError
            if b"READY=1" in said.result():
                return
    finally:
        ended.cancel()


def _play(scene: scenes.Scene, port: int) -> str:
    """One client, as its scene says; XCLIENT makes it seem to come from the scene's address."""
    try:
        smtp = smtplib.SMTP("127.0.0.1", port, local_hostname=scene.helo, timeout=SMTP_TIMEOUT)
    except smtplib.SMTPResponseException as refused:
        return scenes.answer(refused.smtp_code, _bytes(refused.smtp_error))
    try:
        smtp.ehlo()
        name = scene.name or "[UNAVAILABLE]"
        code, reply = smtp.docmd("XCLIENT", f"ADDR={scene.address} NAME={name}")
        if code != 220:
            return scenes.answer(code, reply)
        smtp.ehlo(scene.helo)
        return scene.play(smtp)
    except smtplib.SMTPServerDisconnected:
        return "connection closed"
    finally:
        smtp.close()


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text


async def _with_records(directory: Path, played: list[tuple[scenes.Scene, str]]) -> list[Played]:
    """Each scene with its record, once they are written."""
    store = open_store(StoreSettings(url=f"sqlite:{directory}/state.db"))
    try:
        async with asyncio.timeout(RECORDS_WITHIN):
            return [
                Played(scene, answer, await _record(store, scene, answer) if scene.recorded else None)
                for scene, answer in played
            ]
    finally:
        await store.close()


async def _record(store: Store, scene: scenes.Scene, answer: str) -> Record:
    """The record that the answer names, or the newest of that scene; there is one within a second."""
    named = _ID.search(answer)
    query = (
        RecordQuery(id=named[1])
        if named
        else RecordQuery(sender=scene.sender, address=scene.address, action=scene.action, limit=1)
    )
    while not (found := await find(store, query)):  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.1)
    return found[0]


def table(played: Sequence[Played], *, columns: int) -> Table:
    """What became of each; where there is little room no name is broken."""
    narrow = columns < 110
    shown = Table(title="What became of each", title_justify="left", expand=True, show_lines=True, box=box.ROUNDED)
    shown.add_column("what a client did", width=20 if narrow else 32, overflow="fold")
    shown.add_column("action", width=8, overflow="fold")
    shown.add_column("what it was answered", ratio=1, overflow="fold")
    shown.add_column("why", width=18 if narrow else 36, overflow="fold")
    for p in played:
        action = _action(p)
        shown.add_row(
            f"[bold]{escape(p.scene.title)}[/]\n" + escape(f"{p.scene.address}\n{p.scene.helo}"),
            f"[{_COLOURS.get(action, 'cyan')}]{action}[/]",
            escape(p.answer),
            escape(_why(p)),
        )
    return shown


def _action(played: Played) -> str:
    if played.record is None:
        return "nothing told"
    if played.record.next_hop is None and not played.record.decision:
        return "refused behind us"
    return played.record.action


def _why(played: Played) -> str:
    """The findings that weigh something, or decided."""
    record = played.record
    if record is None:
        return "the same answer for every name"
    decided = record.decision.decided_by if record.decision else None
    weighing = [f"{c.rule} {points(c.millis)}" for c in record.contributions if c.millis or c.rule == decided]
    total = f" = {points(record.millis)}" if len(weighing) > 1 else ""
    return ", ".join(weighing) + total or "nothing against it"


def _explain(console: Console, directory: Path, config: Path, smtp_port: int, http_port: int) -> None:
    console.print(
        f"""
SMTP      127.0.0.1:{smtp_port}
try it    swaks --server 127.0.0.1:{smtp_port} --to alice@{scenes.DOMAIN}
metrics   http://127.0.0.1:{http_port}/metrics (health: /healthz and /readyz)
mail      {directory / "Maildir"}
log       {directory / "gatekeeper.log"}
records   gatekeeper records -c {config}
          gatekeeper explain ID -c {config}

To put it in front of your Postfix: add config/postfix/front.master.cf to
master.cf, run `gatekeeper run -c config/gatekeeper.toml`, and let port 25
reach it. README.md has the steps.""",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
