"""An outside client relays through none of the shipped settings, however it writes the address (RFC 2505 §2.1)."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.conftest import need
from tests.peers.instances import Gatekeeper, Postfix, wait_until
from tests.peers.modes import Client, running

STRANGER = "198.51.100.30"
FOREIGN = "elsewhere.test"
HOST = "mail.example.org"
"""What the Postfix of the test calls itself; its own domain is example.org."""

FORMS = (
    f"victim@{FOREIGN}",
    f'"victim@{FOREIGN}"',
    f'"victim%{FOREIGN}"',
    f"victim%{FOREIGN}",
    f"victim%{FOREIGN}@example.org",
    f"victim%{FOREIGN}@{HOST}",
    f"victim%{FOREIGN}@[127.0.0.1]",
    f'"victim@{FOREIGN}"@example.org',
    f'"victim@{FOREIGN}"@[127.0.0.1]',
    f"@example.org:victim@{FOREIGN}",
    f"@[127.0.0.1]:victim@{FOREIGN}",
    f"@example.org,@{HOST}:victim@{FOREIGN}",
    f"{FOREIGN}!victim",
    f"{FOREIGN}!victim@example.org",
    f"{FOREIGN}!victim@[127.0.0.1]",
    f"victim@{FOREIGN}@example.org",
)
"""The sixteen forms that tests for open relays have tried since the nineties."""
MORE = (
    f"@example.org:{FOREIGN}!victim%{FOREIGN}@example.org",
    f"victim%{FOREIGN}%example.org@example.org",
    f"victim%{FOREIGN}@example.org.",
    f"victim%{FOREIGN}@",
    f"victim@{FOREIGN}%example.org",
    f'"{FOREIGN}!victim"@example.org',
    f'"@{FOREIGN}:victim"@example.org',
    f"victim@{FOREIGN}.",
    f"victim@{FOREIGN},alice@example.org",
    f"victim@{FOREIGN}\\@example.org",
    "victim@[198.51.100.77]",
    "victim@[IPv6:2001:db8::77]",
    "victim@3325256781",
)
SENDERS = ("spam@good.invalid", "", "alice@example.org", f"root@{HOST}", "spam@[127.0.0.1]", "spam", f"spam@{FOREIGN}")
"""Nor does it help to be one of ours by name."""
PATIENT = "[checks.stacking]\nbudget = 100000.0\n"
"""Who tries this many names would be cut off before the end of the list."""
TOGETHER = 8
"""Forms in one session: Postfix slows whoever makes more errors, and then leaves."""
OURS = 'relay_domains = ["example.org"]'


@dataclass(frozen=True)
class Entrance:
    """Where clients come in, whether by saying XCLIENT or (when it does not take it) by their address on the wire."""

    port: int
    postfix: Postfix


def in_front(directory: Path, postfix: Postfix, nameserver: int, *, top: str = "", extra: str = "") -> Gatekeeper:
    directory.mkdir()
    next_hop = f"smtp://127.0.0.1:{postfix.port}"
    gatekeeper = Gatekeeper(directory, next_hop=next_hop, nameserver=nameserver, top=top, extra=f"{PATIENT}\n{extra}")
    gatekeeper.start()
    return gatekeeper


@contextmanager
def entrance(way: str, directory: Path, nameserver: int) -> Iterator[Entrance]:
    """`way`: a mode's name, or front's with its variants, e.g. "front-proxy, relay_domains"."""
    need("postfix")
    mode, _, relay_domains = way.partition(", ")
    if not mode.startswith("front"):
        with running(mode, directory, nameserver, extra=PATIENT) as made:
            yield Entrance(made.port, made.postfix)
        return
    directory.mkdir()
    directory.chmod(0o755)
    # The nameless user is everybody: who is refused is refused for where the mail would go, not for being unknown.
    postfix = Postfix(directory / "postfix", ["alice", ""], shipped=f"{mode}.master.cf")
    with ExitStack() as stack:
        postfix.start()
        stack.callback(postfix.stop)
        gatekeeper = in_front(
            directory / "gatekeeper",
            postfix,
            nameserver,
            top=OURS if relay_domains else "",
            extra='[nexthop]\nhand_on = "proxy"\n' if mode == "front-proxy" else "",
        )
        stack.callback(gatekeeper.stop)
        yield Entrance(gatekeeper.port, postfix)


def attempts(port: int, sender: str) -> dict[str, int]:
    """The last answer to a mail for each form: to its RCPT, or where that was taken to its data."""
    answers: dict[str, int] = {}
    forms = [*FORMS, *MORE]
    for at in range(0, len(forms), TOGETHER):
        with Client(port, STRANGER, helo="stranger.invalid") as client:
            for form in forms[at : at + TOGETHER]:
                code, text = client.docmd("MAIL", f"FROM:<{sender}>")
                if code == 250:
                    code, text = client.docmd("RCPT", f"TO:<{form}>")
                if code == 250:
                    code, text = client.data(
                        f"Subject: relay me\r\nFrom: <a@good.invalid>\r\nTo: <{form}>\r\n\r\nx\r\n"
                    )
                assert code != 421, text
                answers[form] = code
                client.rset()
    return answers


def went(postfix: Postfix) -> list[tuple[str, str]]:
    """The recipients that Postfix had in its queue, each with the transport that took them."""
    log = postfix.log()
    return re.findall(r" to=<([^\n]*?)>, (?:orig_to=<[^\n]*?>, )?relay=(\w+)", log)


def settled(postfix: Postfix) -> bool:
    """Whether everything that was queued has left the queue."""
    log = postfix.log()
    return len(set(re.findall(r"cleanup\[\d+\]: (\w+): message-id", log))) == len(
        set(re.findall(r": (\w+): removed", log))
    )


WAYS = (
    "front",
    "front, relay_domains",
    "front-proxy",
    "front-proxy, relay_domains",
    "behind",
    "milter",
    "policy_service",
)


@pytest.mark.parametrize("way", WAYS)
def test_no_form_of_address_relays(workplace: Path, nameserver: int, way: str) -> None:
    place = workplace / f"relay-{WAYS.index(way)}"
    with entrance(way, place, nameserver) as door:
        for sender in SENDERS:
            answers = attempts(door.port, sender)
            assert answers[f"victim@{FOREIGN}"] >= 400
        with Client(door.port, STRANGER) as client:
            client.sendmail(
                "a@good.invalid", ["alice@example.org"], b"Subject: the last\r\nFrom: <a@good.invalid>\r\n\r\n"
            )
        door.postfix.wait_for_mail("alice", "the last")
        wait_until("an empty queue", lambda: settled(door.postfix))
        taken = went(door.postfix)
        assert ("alice@example.org", "virtual") in taken
        assert [each for each in taken if each[1] != "virtual" or not each[0].endswith("@example.org")] == []


def test_mail_that_does_go_elsewhere_would_be_seen(workplace: Path) -> None:
    """The same reading of the log, of a Postfix that relays for everybody who is local."""
    need("postfix")
    postfix = Postfix(workplace / "relay-open", ["alice"], relay_for_all=True)
    postfix.start()
    try:
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=60) as client:
            client.sendmail("a@good.invalid", [f"victim%{FOREIGN}@{HOST}"], b"Subject: goes\r\n\r\n")
        wait_until("an empty queue", lambda: bool(went(postfix)) and settled(postfix))
        assert [transport for _, transport in went(postfix)] != ["virtual"]
    finally:
        postfix.stop()
