"""What is blocked, added and removed counts for every worker: a real supervisor with two of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.store.base import Block, Charge
from gatekeeper.store.opening import Settings, open_store
from tests.support.next_hop import FakeNextHop
from tests.support.smtp_client import SmtpClient

DEADLINE = 60.0
"""Seconds after which a test has failed; nothing here takes that long."""
CLIENT = "198.51.100.77"


@dataclass
class Running:
    """`gatekeeper run` with two workers."""

    directory: Path
    file: Path
    port: int
    process: asyncio.subprocess.Process

    @property
    def workers(self) -> list[int]:
        """The processes that take mail from our port: those that have its socket open, but for their parent."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        inode = _inode(local=self.port, remote=0)
        return [int(pid) for pid in children if inode in _sockets(int(pid))]

    async def command(self, *arguments: str) -> tuple[int, str]:
        asked = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gatekeeper", *arguments, "-c", str(self.file)),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(asked.communicate(), DEADLINE)
        return asked.returncode or 0, out.decode()

    async def store(self, block: Block) -> None:
        store = open_store(Settings(url=f"sqlite:{self.directory / 'state.db'}"))
        await store.block(block)
        await store.close()

    async def spend(self, key: str, points: float) -> None:
        store = open_store(Settings(url=f"sqlite:{self.directory / 'state.db'}"))
        await store.spend([Charge(key, points, 10 / 3600)], now=time.time())
        await store.close()

    async def unblock(self) -> None:
        store = open_store(Settings(url=f"sqlite:{self.directory / 'state.db'}"))
        await store.unblock(f"ip:{CLIENT}")
        await store.close()

    async def ask(self) -> tuple[int, str]:
        """Which worker took a connection of the client, and what it was answered in the end."""
        async with SmtpClient(self.port) as client:
            worker = self._worker_of(client)
            await client("EHLO proxy.example")
            answer = await client(f"XCLIENT ADDR={CLIENT}")
            if answer.startswith("220"):
                await client("EHLO mail.example.net")
                await client("MAIL FROM:<a@example.net>")
                answer = await client("RCPT TO:<one@example.org>")
            return worker, answer[:3]

    async def until_all_say(self, code: str) -> float:
        """Ask until every worker has answered so, and none otherwise since; how many seconds that took."""
        began = time.monotonic()
        so_far: set[int] = set()
        async with asyncio.timeout(DEADLINE):
            while so_far != set(self.workers):
                worker, answer = await self.ask()
                (so_far.add if answer == code else so_far.discard)(worker)
        return time.monotonic() - began

    def _worker_of(self, client: SmtpClient) -> int:
        port = client.writer.get_extra_info("sockname")[1]
        inode = _inode(local=self.port, remote=port)
        return next((pid for pid in self.workers if inode in _sockets(pid)), 0)


def _inode(*, local: int, remote: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == local and int(fields[2].split(":")[1], 16) == remote:
            return fields[9]
    return "none"


def _sockets(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for one in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(one.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with FakeNextHop() as hop:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (tmp_path / "lists").mkdir()
        file = tmp_path / "gatekeeper.toml"
        file.write_text(
            'hostname = "mx.example.org"\nrelay_domains = ["example.org"]\n[supervisor]\nworkers = 2\n'
            f'[servers.smtp]\nlisten = ["127.0.0.1:{port}"]\nnext_hop = "{hop.url}"\ntrust = ["127.0.0.1"]\n'
            f'[store]\nurl = "sqlite:{tmp_path / "state.db"}"\n[log]\ndestination = "stderr"\n'
            '[dns]\nnameservers = ["127.0.0.1:9"]\ntimeout = "10ms"\ntries = 1\n'
            f'[checks.operator_lists]\nfiles = ["{tmp_path}/lists/*.list"]\n[checks.stacking]\nslow_delay = "0s"\n'
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(tmp_path / "notify"))
            notify.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "gatekeeper", "run", "-c", str(file)),
                env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "RUNTIME_DIRECTORY": str(tmp_path)},
                stdin=asyncio.subprocess.DEVNULL,
                stderr=(tmp_path / "log").open("wb"),
            )
            try:
                loop = asyncio.get_running_loop()
                async with asyncio.timeout(DEADLINE):
                    while b"READY=1" not in await loop.sock_recv(notify, 65536):
                        pass
                yield Running(tmp_path, file, port, process)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                await asyncio.wait_for(process.wait(), DEADLINE)


@pytest.mark.slow
async def test_a_block_is_shown_and_its_removal_counts_for_every_worker(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(running.workers) == 2
    await running.until_all_say("250")
    now = time.time()
    await running.store(Block(f"ip:{CLIENT}", now, now + 3600, "STACKING_BLOCKED"))
    blocked = await running.until_all_say("421")
    status, out = await running.command("lists", "show", "--json")
    [shown] = json.loads(out)["blocks"]
    assert (status, shown["whom"], shown["reason"]) == (0, CLIENT, "STACKING_BLOCKED")
    assert shown["evidence"]  # of the record of one of the attempts
    assert shown["until"] == pytest.approx(now + 3600)
    assert (await running.command("lists", "remove", CLIENT))[0] == 0
    await running.until_all_say("250")
    await running.store(Block(f"ip:{CLIENT}", now, now + 3600, "STACKING_BLOCKED"))
    await running.until_all_say("421")
    await running.unblock()  # what the command does, without the time that a program takes to start
    free = await running.until_all_say("250")
    with capsys.disabled():
        print(f" [blocked everywhere after {blocked:.2f} s, free after {free:.2f} s]", end="")


@pytest.mark.slow
async def test_who_is_told_no_names_is_shown_and_its_removal_counts_for_every_worker(running: Running) -> None:
    await running.until_all_say("250")
    await running.spend(f"stacking:ip:{CLIENT}", 25.0)
    await running.until_all_say("451")
    status, out = await running.command("lists", "show", "--json")
    shown = json.loads(out)
    assert (status, shown["blocks"]) == (0, [])
    assert [(one["key"], one["reason"]) for one in shown["held"]] == [(f"ip:{CLIENT}", "STACKING_BLIND")]
    assert (await running.command("lists", "check", CLIENT))[0] == 1
    assert (await running.command("lists", "remove", CLIENT))[0] == 0
    assert (await running.command("lists", "check", CLIENT))[0] == 0
    await running.until_all_say("250")


@pytest.mark.slow
async def test_an_entry_that_is_added_or_removed_counts_for_every_worker(running: Running) -> None:
    assert (await running.command("lists", "add", CLIENT, "--reason", "not you"))[0] == 0
    await running.until_all_say("550")
    assert (await running.command("lists", "remove", CLIENT))[0] == 0
    await running.until_all_say("250")


@pytest.mark.slow
async def test_a_file_that_changes_counts_for_every_worker_and_a_bad_one_changes_nothing(running: Running) -> None:
    file = running.directory / "lists" / "local.list"
    _put(file, f"deny address {CLIENT}\n")
    await running.until_all_say("550")
    _put(file, "deny adress nobody\n")
    async with asyncio.timeout(DEADLINE):
        while (log := (running.directory / "log").read_text()).count("lists_refused") < 2:  # each worker tells
            assert (await running.ask())[1] == "550"
    assert f"{file}:1" in log
    status, out = await running.command("lists", "show")
    assert (status, out) == (2, "")
    running.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(DEADLINE):
        while "reload_refused" not in (running.directory / "log").read_text():
            assert (await running.ask())[1] == "550"
    _put(file, "# nobody\n")
    await running.until_all_say("250")


def _put(file: Path, text: Any) -> None:
    """In one piece, as editors do."""
    draft = file.with_suffix(".new")
    draft.write_text(text)
    draft.rename(file)
