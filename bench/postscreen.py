"""A private Postfix whose postscreen turns zombies away, to be measured beside us; root, and the package postfix.

Its DNS questions go to port 53 of whatever resolv.conf names, so it runs in a mount namespace with one of its own.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.processes import START_SECONDS, STOP_SECONDS, Program, free_port, open_to_others

SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/postfix/sbin:/usr/libexec/postfix"


def unfit() -> str:
    """Why it cannot run here; "" where it can."""
    if os.geteuid() != 0:
        return "it needs root"
    absent = [name for name in ("postfix", "postscreen", "unshare") if shutil.which(name, path=SBIN) is None]
    return f"not here: {', '.join(absent)} (install postfix)" if absent else ""


@contextlib.contextmanager
def postscreen(
    directory: Path, *, nameserver: str, wait: float, lists: Sequence[str], more: str = ""
) -> Iterator[Program]:
    """Its port takes a PROXY header first; ended on leaving. `nameserver` is an address; who is on one of `lists` is
    dropped.
    """
    port = free_port()
    etc, data = directory / "etc", directory / "data"
    for path in (etc, data, directory / "queue"):
        path.mkdir(parents=True)
    open_to_others(directory)
    os.chown(data, pwd.getpwnam("postfix").pw_uid, -1)
    (etc / "resolv.conf").write_text(f"nameserver {nameserver}\n")
    (etc / "main.cf").write_text(
        f"""compatibility_level = 3.6
myhostname = mx.example
mydestination =
local_recipient_maps =
alias_maps =
queue_directory = {directory}/queue
data_directory = {data}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relay_domains = mx.example
relay_transport = discard:
default_transport = discard:
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_connection_count_limit = 0
default_process_limit = 200
max_use = 100000
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
postscreen_upstream_proxy_protocol = haproxy
postscreen_access_list =
postscreen_dnsbl_sites = {" ".join(f"{each}*1" for each in lists)}
postscreen_dnsbl_threshold = 1
postscreen_dnsbl_action = drop
postscreen_greet_action = drop
postscreen_greet_wait = {wait:g}s
postscreen_cache_map =
postscreen_client_connection_count_limit = 20000
postscreen_pre_queue_limit = 20000
postscreen_post_queue_limit = 500
{more}
"""
    )
    (etc / "master.cf").write_text(
        f"""127.0.0.1:{port} inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
    )
    script = 'mount --bind "$1/resolv.conf" /etc/resolv.conf && exec postfix -c "$1" start-fg'
    command = ("unshare", "--mount", "sh", "-c", script, "sh", str(etc))
    with (directory / "out").open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, "PATH": SBIN}
        )
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"postscreen did not start: {(directory / 'out').read_text()[-500:]}")
            time.sleep(0.1)
        yield Program(port, process.pid)
    finally:
        with contextlib.suppress(OSError, ValueError):  # it is a child of the command's, which would leave it behind
            os.kill(int((directory / "queue" / "pid" / "master.pid").read_text()), signal.SIGTERM)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
