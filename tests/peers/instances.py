"""Private instances of real programs for the tests: own directories, own ports on loopback, ended by their own pid."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATH = f"/usr/sbin:/usr/local/sbin:{os.environ.get('PATH', '/usr/bin:/bin')}"


def program(name: str) -> str | None:
    return shutil.which(name, path=PATH)


def free_port() -> int:
    """A port that nobody has at the moment, for TCP and UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = int(tcp.getsockname()[1])
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until(what: str, condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Until a program outside has done something; a real peer gives no other sign than its traces."""
    pause = threading.Event()
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        pause.wait(0.02)


def listens(port: int) -> bool:
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def arrived(delivered: Callable[[str], list[Path]], user: str, containing: str) -> bytes:
    """The message with that text, once it is among those `delivered` to that user."""
    found: list[bytes] = []

    def there() -> bool:
        found.extend(content for path in delivered(user) if containing.encode() in (content := path.read_bytes()))
        return bool(found)

    wait_until(f"{containing!r} in {user}'s Maildir", there)
    return found[0]


class Process:
    """A program in the foreground, its output in a file."""

    def __init__(
        self, name: str, command: Iterable[str], directory: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                list(command),
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                cwd=directory,
                env={**os.environ, "PATH": PATH, **(env or {})},
            )

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 20.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        return self.process.returncode

    def output(self) -> str:
        return self.log.read_text(errors="replace")


def start_rbldnsd(directory: Path, zones: Mapping[str, tuple[str, str]]) -> tuple[Process, int]:
    """`zones`: zone -> (type, file content), e.g. "bl.test": ("ip4set", "192.0.2.66 :127.0.0.2:listed")."""
    port = free_port()
    data = directory / "rbl"
    data.mkdir()
    arguments = []
    for zone, (kind, content) in zones.items():
        (data / zone).write_text(content)
        arguments.append(f"{zone}:{kind}:{zone}")
    for path in (directory, data, *data.iterdir()):
        path.chmod(0o755)
    command = [program("rbldnsd") or "rbldnsd", "-n", "-b", f"127.0.0.1/{port}", "-r", str(data), "-p", "-"]
    if os.geteuid() == 0:
        command += ["-u", "rbldns"]
    process = Process("rbldnsd", [*(c for c in command if c not in ("-p", "-")), *arguments], directory)
    return process, port


def start_unbound(directory: Path, records: Iterable[str], forwards: Mapping[str, int]) -> tuple[Process, int]:
    """A resolver that knows only `records` (zone file lines) and asks 127.0.0.1:port for the zones in `forwards`."""
    port = free_port()
    lines = [
        "server:",
        "  interface: 127.0.0.1",
        f"  port: {port}",
        "  access-control: 127.0.0.0/8 allow",
        "  do-daemonize: no",
        '  chroot: ""',
        '  username: ""',
        f'  directory: "{directory}"',
        '  pidfile: ""',
        "  use-syslog: no",
        '  logfile: ""',
        '  module-config: "iterator"',
        "  do-not-query-localhost: no",
        "  num-threads: 1",
        "  unblock-lan-zones: yes",
        "  insecure-lan-zones: yes",
        '  local-zone: "." static',
        *[f'  local-zone: "{zone}." transparent' for zone in forwards],
        *[f"  local-data: '{record}'" for record in records],
        "remote-control:",
        "  control-enable: no",
        *[
            f'forward-zone:\n  name: "{zone}."\n  forward-addr: 127.0.0.1@{at}\n  forward-first: no'
            for zone, at in forwards.items()
        ],
    ]
    config = directory / "unbound.conf"
    config.write_text("\n".join(lines) + "\n")
    process = Process("unbound", [program("unbound") or "unbound", "-d", "-c", str(config)], directory)
    wait_until("unbound", lambda: listens(port))
    return process, port


class Postfix:
    """A private Postfix with the services of a file in config/postfix, delivering to Maildirs.

    `replacing` puts the test's own addresses in the place of those in that file, `main` is added to main.cf.
    """

    DOMAIN = "example.org"

    def __init__(
        self,
        directory: Path,
        users: Iterable[str],
        *,
        relay_for_all: bool = False,
        shipped: str = "front.master.cf",
        replacing: Mapping[str, str] | None = None,
        main: str = "",
    ) -> None:
        self.port = free_port()
        self.etc = directory / "etc"
        self.queue = directory / "queue"
        self.boxes = directory / "boxes"
        self.maillog = directory / "maillog"
        data = directory / "data"
        for path in (self.etc, self.queue, self.boxes, data):
            path.mkdir(parents=True)
        directory.chmod(0o755)
        postfix = pwd.getpwnam("postfix")
        nobody = pwd.getpwnam("nobody")
        os.chown(data, postfix.pw_uid, postfix.pw_gid)
        os.chown(self.boxes, nobody.pw_uid, nobody.pw_gid)
        (self.etc / "users").write_text("".join(f"{u}@{self.DOMAIN} {u}/\n" for u in users))
        (self.etc / "refusals").write_text(
            f"full@{self.DOMAIN} 452 4.2.2 Mailbox full, come back later\n"
            f"gone@{self.DOMAIN} 550 5.1.6 Moved away in spring\n"
        )
        (self.etc / "main.cf").write_text(
            f"""compatibility_level = 3.6
myhostname = mail.{self.DOMAIN}
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
queue_directory = {self.queue}
data_directory = {data}
mail_owner = postfix
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = {self.DOMAIN}
virtual_mailbox_base = {self.boxes}
virtual_mailbox_maps = texthash:{self.etc}/users
virtual_minimum_uid = 1
virtual_uid_maps = static:{nobody.pw_uid}
virtual_gid_maps = static:{nobody.pw_gid}
virtual_mailbox_limit = 0
message_size_limit = 104857600
default_transport = discard:
maillog_file = {self.maillog}
maillog_file_prefixes = {directory}
smtputf8_enable = yes
in_flow_delay = 0
{main}
"""
        )
        listener = (ROOT / "config/postfix" / shipped).read_text()
        for theirs, ours in (replacing or {}).items():
            listener = listener.replace(theirs, ours)
        listener = listener.replace("127.0.0.1:10026", f"127.0.0.1:{self.port}")
        listener = listener.replace(
            "smtpd_recipient_restrictions=",
            f"smtpd_recipient_restrictions=check_recipient_access,texthash:{self.etc}/refusals",
        )
        if relay_for_all:  # the mistake that the relay probe is for: local clients may send anywhere, XCLIENT is off
            listener = listener.replace("reject_unauth_destination", "permit_mynetworks,reject_unauth_destination")
            listener = listener.replace("smtpd_authorized_xclient_hosts=127.0.0.1", "smtpd_authorized_xclient_hosts=")
        (self.etc / "master.cf").write_text(
            listener
            + """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
        )

    def _postfix(self, verb: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program("postfix") or "postfix", "-c", str(self.etc), verb],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PATH": PATH},
        )

    def start(self) -> None:
        done = self._postfix("start")
        assert done.returncode == 0, done.stderr + done.stdout + self.log()[-1000:]
        wait_until("Postfix", lambda: listens(self.port))

    def stop(self) -> None:
        """At once: connections are cut, as when the machine goes down."""
        self._postfix("abort")
        # Its port is closed a moment before its lock is given up, and a start in between is refused.
        wait_until("Postfix to end", lambda: not listens(self.port) and self._postfix("status").returncode != 0)

    def delivered(self, user: str) -> list[Path]:
        new = self.boxes / user / "new"
        return sorted(new.iterdir(), key=lambda p: p.stat().st_mtime) if new.is_dir() else []

    def wait_for_mail(self, user: str, containing: str) -> bytes:
        """The message with that text, once it has been delivered to the Maildir of that user."""
        return arrived(self.delivered, user, containing)

    def log(self) -> str:
        return self.maillog.read_text(errors="replace") if self.maillog.exists() else ""


class Dovecot:
    """A private Dovecot that only takes mail: LMTP at `socket` and at `port`, Maildirs of `owner`'s."""

    DOMAIN = "example.org"

    def __init__(self, directory: Path, users: Iterable[str], *, owner: pwd.struct_passwd) -> None:
        self.port = free_port()
        self.directory = directory
        self.socket = directory / "lmtp"
        self.boxes = directory / "boxes"
        self.process: Process | None = None
        self.boxes.mkdir(parents=True)
        directory.chmod(0o755)
        os.chown(self.boxes, owner.pw_uid, owner.pw_gid)
        (directory / "users").write_text(
            "".join(f"{u}@{self.DOMAIN}::{owner.pw_uid}:{owner.pw_gid}::{self.boxes}/{u}::\n" for u in users)
        )
        self.config = directory / "dovecot.conf"
        self.config.write_text(
            f"""protocols = lmtp
base_dir = {directory}/base
log_path = /dev/stderr
ssl = no
hostname = mail.{self.DOMAIN}
postmaster_address = postmaster@{self.DOMAIN}
mail_location = maildir:{self.boxes}/%n
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = {directory}/users
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.port}
  }}
  unix_listener {self.socket} {{
    mode = 0666
  }}
}}
"""
        )

    def start(self) -> None:
        command = [program("dovecot") or "dovecot", "-F", "-c", str(self.config)]
        self.process = Process("dovecot", command, self.directory)
        wait_until("Dovecot", lambda: listens(self.port))

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def delivered(self, user: str) -> list[Path]:
        new = self.boxes / user / "new"
        return sorted(new.iterdir(), key=lambda p: p.stat().st_mtime) if new.is_dir() else []

    def wait_for_mail(self, user: str, containing: str) -> bytes:
        return arrived(self.delivered, user, containing)


class Exim:
    """A private Exim from `root`, where its package was unpacked: it conflicts with Postfix's, so it is not installed.

    The account that it wants by name is made up for it by nss_wrapper.
    """

    DOMAIN = "example.org"
    ACCOUNT = "Debian-exim"
    ID = 65533

    def __init__(self, root: Path, directory: Path, users: Iterable[str]) -> None:
        self.port = free_port()
        self.directory = directory
        self.boxes = directory / "boxes"
        self.program = root / "usr/sbin/exim4"
        self.process: Process | None = None
        self.boxes.mkdir(parents=True)
        for path in (directory, self.boxes):
            os.chown(path, self.ID, self.ID)
            path.chmod(0o755)
        # Set-uid, it would run without nss_wrapper when it runs itself again.
        self.program.chmod(0o755)
        passwd = f"{self.ACCOUNT}:x:{self.ID}:{self.ID}::/nonexistent:/usr/sbin/nologin\n"
        (directory / "passwd").write_text(Path("/etc/passwd").read_text() + passwd)
        (directory / "group").write_text(Path("/etc/group").read_text() + f"{self.ACCOUNT}:x:{self.ID}:\n")
        libraries = dict.fromkeys(str(path.parent) for path in (root / "usr/lib").rglob("*.so*"))
        self.environment = {
            "LD_LIBRARY_PATH": ":".join(libraries),
            "LD_PRELOAD": str(next(root.glob("usr/lib/*/libnss_wrapper.so"))),
            "NSS_WRAPPER_PASSWD": str(directory / "passwd"),
            "NSS_WRAPPER_GROUP": str(directory / "group"),
        }
        (directory / "exim.conf").write_text(
            f"""primary_hostname = mail.{self.DOMAIN}
exim_path = {self.program}
keep_environment = {" : ".join(self.environment)}
spool_directory = {directory}/spool
log_file_path = {directory}/log_%s
pid_file_path = {directory}/pid
deliver_drop_privilege = true
tls_advertise_hosts =
acl_smtp_rcpt = rcpt
acl_smtp_data = content

begin acl
rcpt:
  deny recipients = gone@{self.DOMAIN}
       message = 5.1.6 Moved away in spring
  defer recipients = full@{self.DOMAIN}
        message = 4.2.2 Mailbox full, come back later
  deny !domains = {self.DOMAIN}
       message = relay not permitted
  require verify = recipient
  accept
content:
  deny condition = ${{if match{{$h_subject:}}{{unwanted}}}}
       message = 5.7.1 Exim does not want this
  accept

begin routers
local:
  driver = accept
  domains = {self.DOMAIN}
  local_parts = {" : ".join(users)}
  transport = box

begin transports
box:
  driver = appendfile
  directory = {self.boxes}/$local_part_data
  maildir_format
  user = {self.ACCOUNT}
"""
        )

    def unable(self) -> str:
        """Why it does not run on this machine; empty when it does."""
        try:
            done = subprocess.run(
                [str(self.program), "-C", str(self.directory / "exim.conf"), "-bV"],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
                env={**os.environ, **self.environment},
            )
        except OSError as error:
            return str(error)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def start(self) -> None:
        command = [str(self.program), "-bdf", "-oX", f"127.0.0.1.{self.port}", "-C", str(self.directory / "exim.conf")]
        self.process = Process("exim", command, self.directory, self.environment)
        wait_until("Exim", lambda: listens(self.port))

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def delivered(self, user: str) -> list[Path]:
        new = self.boxes / user / "new"
        return sorted(new.iterdir(), key=lambda p: p.stat().st_mtime) if new.is_dir() else []

    def wait_for_mail(self, user: str, containing: str) -> bytes:
        return arrived(self.delivered, user, containing)


class Gatekeeper:
    """`gatekeeper run` as a child process with a configuration of its own."""

    def __init__(
        self,
        directory: Path,
        *,
        next_hop: str,
        nameserver: int,
        extra: str = "",
        smtp: str = "",
        top: str = "",
        port: int | None = None,
    ) -> None:
        self.directory = directory
        self.port, self.http = port or free_port(), free_port()
        self.config = directory / "gatekeeper.toml"
        self.config.write_text(
            f"""hostname = "mx.example.org"
{top}
[servers.smtp]
listen = ["127.0.0.1:{self.port}"]
next_hop = "{next_hop}"
trust = ["127.0.0.1/32"]
{smtp}
[servers.http]
listen = ["127.0.0.1:{self.http}"]
[dns]
nameservers = ["127.0.0.1:{nameserver}"]
[store]
url = "sqlite:{directory}/state.db"
{extra}
"""
        )
        self.process: Process | None = None

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "gatekeeper", *arguments]

    def call(self, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """One command with this configuration."""
        return subprocess.run(
            [*self.command(*arguments), "-c", str(self.config)],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )

    def start(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            path = str(self.directory / "notify")
            Path(path).unlink(missing_ok=True)
            notify.bind(path)
            notify.settimeout(120)  # as long as a busy machine needs
            self.process = Process(
                "gatekeeper",
                self.command("run", "-c", str(self.config)),
                self.directory,
                env={"NOTIFY_SOCKET": path, "PYTHONPATH": str(ROOT)},
            )
            try:
                while b"READY=1" not in notify.recv(4096):
                    pass
            except TimeoutError:
                raise AssertionError(f"gatekeeper did not become ready:\n{self.process.output()}") from None

    def stop(self) -> int:
        return self.process.stop() if self.process else 0

    def log(self) -> str:
        return self.process.output() if self.process else ""

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
            return str(answer.read().decode())
