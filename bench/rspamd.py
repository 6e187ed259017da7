"""A private rspamd, to be measured beside us; the package rspamd. What it asks the DNS goes where `options` say."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from bench.processes import Program, free_port, open_to_others, running

START_SECONDS = 180.0
"""It compiles its patterns first, on a machine that may be busy."""
IDLE = 0.05
"""Seconds of CPU in two that it takes when it has nothing to do."""


class Rspamd(Program):
    """Its port takes HTTP."""

    def wait_until_idle(self) -> None:
        """It goes on compiling patterns when it answers already, and takes the slow way meanwhile."""
        until, before = time.monotonic() + START_SECONDS, -1.0
        while time.monotonic() < until and self.cpu() - before > IDLE:
            before = self.cpu()
            time.sleep(2.0)


@contextlib.contextmanager
def rspamd(
    directory: Path, *, options: str, off: Sequence[str], local: Mapping[str, str], override: Mapping[str, str]
) -> Iterator[Rspamd | None]:
    """Ready, and ended on leaving; None without the package. `off` are modules that are switched off, `local` and
    `override` files of its local.d and override.d, by name.
    """
    if shutil.which("rspamd") is None:
        yield None
        return
    port, settings, data = free_port(), directory / "rspamd", directory / "rspamd-db"
    for path in (settings / "override.d", settings / "local.d", data):
        path.mkdir(parents=True)
    as_user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        open_to_others(directory)
        user = pwd.getpwnam("_rspamd")
        os.chown(data, user.pw_uid, user.pw_gid)
        as_user = ("-u", "_rspamd", "-g", "_rspamd")
    (settings / "tld.dat").write_text("org\nnet\ntest\nexample\n")  # its own takes minutes to compile
    files = {
        "options.inc": f'{options}url_tld = "{settings}/tld.dat";\n',
        "logging.inc": 'type = "console"; level = "notice";\n',
        "worker-normal.inc": f'bind_socket = "127.0.0.1:{port}"; count = 1;\n',
        "worker-controller.inc": f'bind_socket = "127.0.0.1:{free_port()}"; count = 1;\n',
        "worker-proxy.inc": "enabled = false;\n",
        "worker-fuzzy.inc": "enabled = false;\n",
    }
    files |= {f"{module}.conf": "enabled = false;\n" for module in off}
    for place, texts in (("override.d", {**files, **override}), ("local.d", local)):
        for name, text in texts.items():
            (settings / place / name).write_text(text)
    places = (f"--var={name}={path}" for name, path in _places(settings, data))
    command = ["rspamd", "-f", *as_user, *places, "-c", "/etc/rspamd/rspamd.conf"]
    with (directory / "rspamd.log").open("ab") as log, running(command, log) as process:
        _wait_for(port, process, directory / "rspamd.log")
        yield Rspamd(port, process.pid)


def _places(settings: Path, data: Path) -> Iterator[tuple[str, Path]]:
    yield "LOCAL_CONFDIR", settings
    yield from ((name, data) for name in ("DBDIR", "RUNDIR", "LOGDIR"))


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"rspamd did not start; its last words were:\n{log.read_text(errors='replace')[-2000:]}")
