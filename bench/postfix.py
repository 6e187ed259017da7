"""A private Postfix that takes mail for `RECIPIENT` and throws it away; root, and the package postfix.

Who uses it says what listens; everything behind that is the same for all.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.processes import Program, open_to_others, running, wait_for
from gatekeeper.bench.letters import RECIPIENT

SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/postfix/sbin:/usr/libexec/postfix"


def unfit(*programs: str) -> str:
    """Why it cannot run here, `programs` beside it included; "" where it can."""
    if os.geteuid() != 0:
        return "it needs root"
    absent = [name for name in ("postfix", *programs) if shutil.which(name, path=SBIN) is None]
    return f"not here: {', '.join(absent)} (install postfix)" if absent else ""


@contextlib.contextmanager
def postfix(
    directory: Path, *, port: int, services: str, settings: str, behind: Sequence[str] = ()
) -> Iterator[Program]:
    """Ready at `port`, and ended on leaving. `services` are lines of master.cf, one of which listens there, `settings`
    lines of main.cf; `behind` is a command that runs the one that is appended.
    """
    etc, data, queue = directory / "etc", directory / "data", directory / "queue"
    for path in (etc, data, queue):
        path.mkdir(parents=True, exist_ok=True)
    open_to_others(directory)
    os.chown(data, pwd.getpwnam("postfix").pw_uid, -1)
    (etc / "main.cf").write_text(
        f"""compatibility_level = 3.6
myhostname = mx.example
mydestination =
local_recipient_maps =
alias_maps =
queue_directory = {queue}
data_directory = {data}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relay_domains = {RECIPIENT.partition("@")[2]}
relay_transport = discard:
default_transport = discard:
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_connection_count_limit = 0
default_process_limit = 200
max_use = 100000
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
{settings}
"""
    )
    (etc / "master.cf").write_text(
        f"""{services}
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
    command = (*behind, "postfix", "-c", str(etc), "start-fg")
    environment = {**os.environ, "PATH": SBIN}
    with (directory / "out").open("wb") as out, running(command, out, environment=environment) as process:
        try:
            wait_for(port, process, "Postfix", directory / "out")
            yield Program(port, process.pid)
        finally:
            with contextlib.suppress(OSError, ValueError):  # a child of the command's, which would leave it behind
                os.kill(int((queue / "pid" / "master.pid").read_text()), signal.SIGTERM)
