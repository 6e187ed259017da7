"""A private Postfix whose postscreen turns zombies away, to be measured beside us; root, and the package postfix.

Its DNS questions go to port 53 of whatever resolv.conf names, so it runs in a mount namespace with one of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import postfix
from bench.processes import Program, free_port


def unfit() -> str:
    """Why it cannot run here; "" where it can."""
    return postfix.unfit("postscreen", "unshare")


@contextlib.contextmanager
def postscreen(
    directory: Path, *, nameserver: str, wait: float, lists: Sequence[str], more: str = ""
) -> Iterator[Program]:
    """Its port takes a PROXY header first; ended on leaving. `nameserver` is an address; who is on one of `lists` is
    dropped.
    """
    port = free_port()
    directory.mkdir(parents=True)
    resolv = directory / "resolv.conf"
    resolv.write_text(f"nameserver {nameserver}\n")
    script = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
    with postfix.postfix(
        directory,
        port=port,
        services=f"""127.0.0.1:{port} inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy""",
        settings=f"""postscreen_upstream_proxy_protocol = haproxy
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
{more}""",
        behind=("unshare", "--mount", "sh", "-c", script, "sh", str(resolv)),
    ) as there:
        yield there
