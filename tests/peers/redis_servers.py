"""Private Redis servers: one alone, one with a replica and sentinels, a cluster of three."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from tests.peers.instances import Process, free_port, listens, program, wait_until


class RedisServer:
    """One `redis-server`, or another program that is used like it, that keeps nothing on disk."""

    def __init__(self, directory: Path, *settings: str, port: int | None = None, server: str = "redis-server") -> None:
        self.server = server
        self.port = port or free_port()
        self.directory = directory
        self.settings = settings
        self.process: Process | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *, wait: bool = True) -> Process:
        command = [
            *(program(self.server) or self.server, "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--dir", str(self.directory), "--protected-mode", "no"),
            *self.settings,
        ]
        self.process = Process(f"redis-{self.port}", command, self.directory)
        if wait:
            wait_until("Redis", lambda: listens(self.port))
        return self.process

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def empty(self) -> None:
        self.call("flushall")

    def kill(self) -> None:
        """Without a farewell."""
        if self.process is not None:
            self.process.stop(signal.SIGKILL)

    def call(self, *words: str) -> str:
        done = subprocess.run(
            [program("redis-cli") or program("valkey-cli") or "redis-cli", "-p", str(self.port), *words],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout + done.stderr


class RedisCluster:
    """Three masters that share the slots."""

    def __init__(self, directory: Path) -> None:
        self.nodes = []
        shutil.rmtree(directory, ignore_errors=True)  # nodes remember the cluster of an earlier test, and look for it
        # A node's second port is given too: by default it is 10,000 higher, which may be none.
        for n in range(3):
            bus = str(free_port())
            settings = ("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "2000")
            self.nodes.append(RedisServer(directory / str(n), *settings))

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        places = [f"127.0.0.1:{node.port}" for node in self.nodes]
        self.nodes[0].call("--cluster", "create", *places, "--cluster-yes")
        for node in self.nodes:
            wait_until("the cluster", lambda node=node: "cluster_state:ok" in node.call("cluster", "info"))  # type: ignore[misc]

    def empty(self) -> None:
        for node in self.nodes:
            node.empty()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


class RedisWatched:
    """A master, its replica, and three sentinels that agree on which is which.

    `patience` is for how many milliseconds a master may say nothing before the replica takes its place.
    """

    SERVICE = "mymaster"

    def __init__(self, directory: Path, *, patience: int = 500) -> None:
        self.patience = patience
        shutil.rmtree(directory, ignore_errors=True)
        self.master = RedisServer(directory / "master")
        self.replica = RedisServer(directory / "replica", "--replicaof", "127.0.0.1", str(self.master.port))
        self.sentinels = [free_port() for _ in range(3)]
        self.directory = directory
        self.processes: list[Process] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.SERVICE}/0"

    def start(self) -> None:
        self.master.start()
        self.replica.start()
        wait_until("the replica", lambda: "master_link_status:up" in self.replica.call("info", "replication"))
        for port in self.sentinels:
            config = self.directory / f"sentinel-{port}.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\nprotected-mode no\ndir {self.directory}\n"
                f"sentinel monitor {self.SERVICE} 127.0.0.1 {self.master.port} 2\n"
                f"sentinel down-after-milliseconds {self.SERVICE} {self.patience}\n"
                f"sentinel failover-timeout {self.SERVICE} 3000\n"
            )
            command = [program("redis-server") or "redis-server", str(config), "--sentinel"]
            self.processes.append(Process(f"sentinel-{port}", command, self.directory))
        for port in self.sentinels:
            asked = RedisServer(self.directory, port=port)
            wait_until("the sentinels", lambda asked=asked: self._met(asked))  # type: ignore[misc]

    def empty(self) -> None:
        self.master.empty()

    def _met(self, sentinel: RedisServer) -> bool:
        return "num-other-sentinels\n2" in sentinel.call("sentinel", "master", self.SERVICE)

    def stop(self) -> None:
        for process in self.processes:
            process.stop()
        self.replica.stop()
        self.master.stop()
