"""What users teach through: a Postfix to submit to, whose pipe calls gatekeeper, and a Dovecot with IMAP and Sieve."""

from __future__ import annotations

import imaplib
import os
import pwd
import smtplib
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.peers.instances import ROOT, Process, free_port, listens, program, wait_until

PASSWORD = "secret"
Command = Callable[[list[str], bytes], "subprocess.CompletedProcess[bytes]"]


class Bridge:
    """Lets a program of another user call gatekeeper: this machine's Python may stand where that user may not look.

    `script` takes arguments and standard input, and ends with the command's status and what it said.
    """

    SCRIPT = """#!/bin/bash
body=$(mktemp) && cat >"$body"
exec 3<>/dev/tcp/127.0.0.1/PORT
printf '%s\\n%s\\n' "$#" "$(stat -c %s "$body")" >&3
for each; do printf '%s\\0' "$each" >&3; done
cat "$body" >&3
rm -f "$body"
read -r status <&3
cat <&3
exit "$status"
"""

    def __init__(self, script: Path, command: Command) -> None:
        self.calls: list[list[str]] = []
        bridge = self

        class Called(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                count, size = int(self.rfile.readline()), int(self.rfile.readline())
                arguments = [bytearray() for _ in range(count)]
                for argument in arguments:
                    while (sign := self.rfile.read(1)) != b"\0":
                        argument += sign
                words = [argument.decode() for argument in arguments]
                bridge.calls.append(words)
                ended = command(words, self.rfile.read(size))
                self.wfile.write(b"%d\n" % ended.returncode + ended.stdout + ended.stderr)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Called)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        script.write_text(self.SCRIPT.replace("PORT", str(self._server.server_address[1])))
        script.chmod(0o755)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Mailboxes:
    """A private Dovecot with the files of config/dovecot: IMAP at `port`, logins for Postfix at `logins`."""

    def __init__(self, directory: Path, users: Iterable[str], bridge: Callable[[Path], None]) -> None:
        self.port, self.logins = free_port(), free_port()
        self.directory = directory
        self.process: Process | None = None
        owner = pwd.getpwnam("nobody")
        home, shipped = directory / "home", directory / "gatekeeper"
        for path in (home, shipped):
            path.mkdir(parents=True)
        directory.chmod(0o755)
        os.chown(home, owner.pw_uid, owner.pw_gid)
        for name in ("learn-spam.sieve", "learn-ham.sieve"):
            (shipped / name).write_text((ROOT / "config/dovecot" / name).read_text())
        os.chown(shipped, owner.pw_uid, owner.pw_gid)  # where Sieve keeps what it has compiled
        bridge(shipped / "called")
        script = (ROOT / "config/dovecot/gatekeeper-learn").read_text()
        script = script.replace("sudo -n -u gatekeeper /opt/gatekeeper/bin/gatekeeper", str(shipped / "called"))
        (shipped / "gatekeeper-learn").write_text(script)
        (shipped / "gatekeeper-learn").chmod(0o755)
        learning = (ROOT / "config/dovecot/90-gatekeeper.conf").read_text()
        (directory / "90-gatekeeper.conf").write_text(learning.replace("/etc/dovecot/gatekeeper", str(shipped)))
        (directory / "users").write_text(
            "".join(f"{u}:{{PLAIN}}{PASSWORD}:{owner.pw_uid}:{owner.pw_gid}::{home}/{u}::\n" for u in users)
        )
        self.config = directory / "dovecot.conf"
        self.config.write_text(
            f"""protocols = imap
base_dir = {directory}/base
log_path = /dev/stderr
ssl = no
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = passwd-file
  args = {directory}/users
}}
namespace inbox {{
  inbox = yes
  mailbox Junk {{
    special_use = \\Junk
    auto = create
  }}
  mailbox Wastebasket {{
    special_use = \\Trash
    auto = create
  }}
  mailbox Archive {{
    auto = create
  }}
}}
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {self.logins}
  }}
}}
!include {directory}/90-gatekeeper.conf
"""
        )

    def start(self) -> None:
        self.process = Process(
            "dovecot", [program("dovecot") or "dovecot", "-F", "-c", str(self.config)], self.directory
        )
        wait_until("Dovecot", lambda: listens(self.port) and listens(self.logins))

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def log(self) -> str:
        return self.process.output() if self.process else ""

    def login(self, user: str) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=30)
        client.login(user, PASSWORD)
        return client


def submit(port: int, user: str, to: str, mails: Iterable[bytes]) -> None:
    """Mails of a user who logs in, one after the other; of nobody with an empty `user`."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="desk.example", timeout=60) as client:
        if user:
            client.login(user, PASSWORD)
        for mail in mails:
            client.sendmail(user or "stranger@elsewhere.test", [to], mail)
