"""rspamd and Postfix, set up to do what gatekeeper does in `bench.yardstick`: the same lists, DNS and mail.

rspamd keeps its other modules as Debian ships them, apart from those that ask services which are not here (fuzzy
storage, ASN, Redis). It refuses nothing, so that every message goes the whole way.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.postfix import postfix
from bench.processes import Program, free_port
from bench.rspamd import Rspamd, rspamd
from gatekeeper.bench.letters import LISTS, RECIPIENT, ZONE, Letter, Talk

URIBL: Final = f"uribl.{ZONE}"
OUR_URIBL: Final = f'[[checks.uribl.lists]]\nzone = "{URIBL}"\nname = "U0"\nscore = 4.0\nof = ["links", "dkim"]\n'
"""For gatekeeper; asked about the same names as rspamd's."""
ELSEWHERE: Final = (
    *("fuzzy_check", "asn", "greylist", "rspamd_update", "mx_check", "neural", "history_redis", "metadata_exporter"),
    *("elastic", "clickhouse", "phishing"),
)
"""Modules of rspamd's that need a service or the Internet."""
PROVEN: Final = frozenset({"R_SPF_ALLOW", "R_DKIM_ALLOW", "DMARC_POLICY_ALLOW"})
"""What rspamd finds in a letter of a good client when it really asks."""
LISTED: Final = frozenset(f"BENCH_L{n}" for n in range(len(LISTS)))
"""And for a client that is on every list."""
STOCK_LISTS: Final = Path("/etc/rspamd/modules.d/rbl.conf")
ANSWER: Final = 1 << 20
"""Octets of an answer of rspamd's at most."""


@contextlib.contextmanager
def like_us(directory: Path, *, nameserver: str, milter: Path) -> Iterator[Rspamd | None]:
    """rspamd at a port for HTTP and at a socket for Postfix; None without the package."""
    stock = stock_lists(STOCK_LISTS.read_text()) if STOCK_LISTS.is_file() else ()
    rbls = "".join(f'"{name}" {{ enabled = false; }}\n' for name in stock) + "".join(
        f'"bench{n}" {{ symbol = "BENCH_L{n}"; rbl = "{each}"; ipv4 = true; ipv6 = false; checks = ["from"]; '
        f'returncodes {{ BENCH_L{n} = ["127.0.0.2"]; }} }}\n'
        for n, each in enumerate(LISTS)
    )
    rbls += (
        f'"benchuri" {{ symbol = "BENCH_U0"; rbl = "{URIBL}"; checks = ["urls", "dkim"]; ignore_defaults = true; '
        'no_ip = true; returncodes { BENCH_U0 = "127.0.0.2"; } }\n'
    )
    scores = "".join(f'"{name}" {{ weight = 4.0; }}\n' for name in (*sorted(LISTED), "BENCH_U0"))
    with rspamd(
        directory,
        options=f'dns {{ nameserver = ["{nameserver}"]; timeout = 2s; retransmits = 2; }}\n'
        "local_addrs = [127.0.0.0/8];\nlocal_networks = [127.0.0.0/8];\n",
        off=ELSEWHERE,
        local={"rbl.conf": f"rbls {{\n{rbls}}}\n", "rbl_group.conf": f"symbols {{\n{scores}}}\n"},
        override={
            "actions.conf": "reject = 1000; add_header = 900; rewrite_subject = null; greylist = null;\n",
            "classifier-bayes.conf": "enabled = false;\n",  # it keeps what it has learned in Redis
            "worker-proxy.inc": f'bind_socket = "{milter} mode=0666"; count = 1; milter = yes; timeout = 120s;\n'
            'upstream "local" { default = yes; self_scan = yes; }\n',
        },
    ) as there:
        yield there


def stock_lists(text: str) -> list[str]:
    """The lists that Debian's configuration asks, all of the Internet."""
    return re.findall(r'^ {4}"?(\w+)"? \{', text, re.MULTILINE)


@contextlib.contextmanager
def mail_server(directory: Path, *, milter: Path | None = None) -> Iterator[Program]:
    """Postfix as it stands behind gatekeeper; or, with a milter, as it stands alone."""
    port = free_port()
    settings = """smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_authorized_xforward_hosts = 127.0.0.1
smtpd_recipient_restrictions =
smtpd_client_event_limit_exceptions = static:all
smtpd_peername_lookup = no
smtpd_tls_security_level = none
in_flow_delay = 0
max_idle = 600s
"""
    if milter is not None:
        settings += f"smtpd_milters = unix:{milter}\nmilter_default_action = tempfail\n"
    services = f"127.0.0.1:{port} inet n - n - - smtpd"
    with postfix(directory, port=port, services=services, settings=settings) as there:
        yield there


def scan(port: int) -> Talk:
    """Asks rspamd over HTTP; a connection is used again, as a mail server does."""
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def talk(letter: Letter) -> str:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        keep = False
        try:
            writer.write(question(letter))
            keep, answer = await _answer(reader)
        finally:
            if keep:
                idle.append((reader, writer))
            else:
                writer.close()
        return wrong(answer)

    return talk


def question(letter: Letter) -> bytes:
    text = _text(letter)
    lines = ["POST /checkv2 HTTP/1.1", *(f"{name}: {value}" for name, value in _facts(letter).items())]
    lines += ["Connection: keep-alive", f"Content-Length: {len(text)}", "", ""]
    return "\r\n".join(lines).encode() + text


def _facts(letter: Letter) -> dict[str, str]:
    return {
        "Host": "127.0.0.1",
        "IP": letter.address,
        "Helo": letter.helo,
        "Hostname": letter.helo,
        "From": letter.sender,
        "Rcpt": RECIPIENT,
    }


def _text(letter: Letter) -> bytes:
    """The message as it was before it was made ready for SMTP (RFC 5321 §4.5.2)."""
    return re.sub(rb"(?m)^\.\.", b".", letter.wire.removesuffix(b".\r\n"))


async def _answer(reader: asyncio.StreamReader) -> tuple[bool, bytes]:
    """Whether the connection can be used again, and what was answered; nothing where it is no good answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = re.search(rb"\r\ncontent-length: *(\d{1,9})\r\n", head)
    if head.split(b" ", 2)[1:2] != [b"200"] or length is None or int(length[1]) > ANSWER:
        return False, b""
    return b"\r\nconnection: close" not in head, await reader.readexactly(int(length[1]))


def wrong(answer: bytes) -> str:
    """Why an answer of rspamd's is not that a message may pass; "" where it is."""
    found = re.search(rb'"action": *"([^"]{1,40})"', answer)
    if found is None:
        return "rspamd gave no verdict"
    return "" if found[1] == b"no action" else f"rspamd says {found[1].decode(errors='replace')}"


def symbols(port: int, letter: Letter) -> frozenset[str]:
    """What rspamd finds in a letter."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/checkv2", _text(letter), _facts(letter))
        return frozenset(json.loads(connection.getresponse().read(ANSWER))["symbols"])
