"""A private Sendmail with the lines shipped for it, unpacked from Debian's packages: they conflict with Postfix's.

It runs in name spaces of its own. There /run/gatekeeper is where the test's gatekeeper has its socket, so that the
shipped lines are used as they are, and Sendmail accepts no path below a directory that anybody may write to. And there
loopback has the addresses that clients come from, since Sendmail knows no XCLIENT.
"""

from __future__ import annotations

import ctypes
import os
import smtplib
import socket
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

from tests.peers.instances import PATH, ROOT, Process, arrived, wait_until

PACKAGES = ("sendmail-bin", "sendmail-cf", "m4", "libsigsegv2")
SHIPPED = ROOT / "config/sendmail/gatekeeper.mc"
PORT = 25
CLONE_NEWNET = 0x40000000
INSIDE = "/run/sendmail"

BEFORE = f"""divert(0)dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `mail.example.org')dnl
define(`QUEUE_DIR', `{INSIDE}/queue')dnl
define(`confPID_FILE', `{INSIDE}/pid')dnl
define(`STATUS_FILE', `')dnl
define(`ALIAS_FILE', `')dnl
define(`confSERVICE_SWITCH_FILE', `{INSIDE}/switch')dnl
define(`confCW_FILE', `{INSIDE}/names')dnl
define(`confDONT_PROBE_INTERFACES', `true')dnl
define(`confTO_IDENT', `0s')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`no_default_msa')dnl
RELAY_DOMAIN(`example.org')dnl
DAEMON_OPTIONS(`Port={PORT}, Addr=127.0.0.1, Name=MTA')dnl
"""
MAILBOX = f"""MAILER(`smtp')dnl
MAILER_DEFINITIONS
Mbox, P={INSIDE}/box, F=lsDFMPhnu, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, T=DNS/RFC822/X-Unix, A=box $u
LOCAL_RULE_0
"""
START = """hostname mail.example.org
ip link set lo up
for address in {addresses}; do ip addr add $address/32 dev lo; done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/gatekeeper {inside}
mount --bind {sockets} /run/gatekeeper
mount --bind {directory} {inside}
mount --bind {inside}/hosts /etc/hosts
exec {program} {mode} -C {inside}/sendmail.cf
"""
SPACES = ("unshare", "--net", "--uts", "--mount")


class Sendmail:
    """`root` is where its packages were unpacked, `sockets` where gatekeeper's socket `milter` is."""

    DOMAIN = "example.org"

    def __init__(
        self, root: Path, directory: Path, users: Iterable[str], *, sockets: Path, addresses: Iterable[str]
    ) -> None:
        self.directory = directory
        self.sockets = sockets
        self.addresses = tuple(addresses)
        self.program = root / "usr/libexec/sendmail/sendmail"
        self.process: Process | None = None
        for path in (directory, directory / "queue", directory / "boxes"):
            path.mkdir(mode=0o755)
        (directory / "boxes").chmod(0o777)  # for whichever account Sendmail delivers as
        (directory / "names").touch()
        hosts = [f"{address} host{n}.good.test" for n, address in enumerate(self.addresses)]
        (directory / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts, ""]))
        (directory / "switch").write_text("hosts files\n")
        box = directory / "box"
        box.write_text(f'#!/bin/sh\nexec cat >"{INSIDE}/boxes/$1.$$"\n')
        box.chmod(0o755)
        local = "".join(f"R{user} < @ {self.DOMAIN} . >\t$#box $: {user}\n" for user in users)
        nobody = f'R$+ < @ {self.DOMAIN} . >\t$#error $@ 5.1.1 $: "550 User unknown"\n'
        (directory / "test.mc").write_text(BEFORE + SHIPPED.read_text() + MAILBOX + local + nobody)
        cf = root / "usr/share/sendmail/cf"
        done = subprocess.run(
            [str(root / "usr/bin/m4"), f"-D_CF_DIR_={cf}/", str(cf / "m4/cf.m4"), str(directory / "test.mc")],
            capture_output=True,
            timeout=60,
            check=True,
            env={"PATH": PATH, "LD_LIBRARY_PATH": str(next(root.rglob("libsigsegv.so.2")).parent)},
        )
        (directory / "sendmail.cf").write_bytes(done.stdout)

    def unable(self) -> str:
        """Why it does not run on this machine; empty when it does."""
        try:
            done = subprocess.run(
                self._command("-d0.1 -bt"),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env={**os.environ, "PATH": PATH},
            )
        except OSError as error:
            return str(error)
        return "" if "ADDRESS TEST MODE" in done.stdout else done.stdout + done.stderr

    def _command(self, mode: str) -> list[str]:
        script = START.format(
            addresses=" ".join(self.addresses),
            inside=INSIDE,
            sockets=self.sockets,
            directory=self.directory,
            program=self.program,
            mode=mode,
        )
        return [*SPACES, "sh", "-ec", script]

    def start(self) -> None:
        self.process = Process("sendmail", self._command("-bD"), self.directory)
        wait_until("Sendmail", (self.directory / "pid").exists)

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def client(self, address: str, *, helo: str = "mail.good.test") -> smtplib.SMTP:
        """A client that comes from that address."""
        client = smtplib.SMTP(timeout=60, local_hostname=helo)
        client.sock = self._connected(address)
        code, text = client.getreply()
        assert code == 220, text
        assert client.ehlo()[0] == 250
        return client

    def _connected(self, address: str) -> socket.socket:
        """A socket belongs to the name space of the thread that makes it."""
        assert self.process is not None
        number = self.process.process.pid
        made: list[socket.socket] = []
        failed: list[OSError] = []

        def connect() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            try:
                with Path(f"/proc/{number}/ns/net").open() as space:
                    if libc.setns(space.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                made.append(socket.create_connection(("127.0.0.1", PORT), timeout=60, source_address=(address, 0)))
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]

    def delivered(self, user: str) -> list[Path]:
        return sorted((self.directory / "boxes").glob(f"{user}@*"), key=lambda path: path.stat().st_mtime)

    def wait_for_mail(self, user: str, containing: str) -> bytes:
        return arrived(self.delivered, user, containing)
