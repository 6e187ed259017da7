"""SMTP smuggling against real Postfix: whatever stands in place of the end, one message goes in and one comes out."""

from __future__ import annotations

import socket

import pytest

from tests.peers.instances import Gatekeeper, Postfix, wait_until
from tests.wire.test_data import LAX_ENDS

SECOND = b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n.\r\n"


def converse(port: int, text: bytes) -> list[str]:
    """The answers to a mail with that text after DATA, and to QUIT."""
    with socket.create_connection(("127.0.0.1", port), 30) as client, client.makefile("rb") as answers:

        def reply() -> str:
            while (line := answers.readline().decode())[3:4] == "-":
                pass
            return line[:3]

        said = [reply()]
        for line in (b"EHLO mail.good.test", b"MAIL FROM:<a@good.test>", b"RCPT TO:<alice@example.org>", b"DATA"):
            client.sendall(line + b"\r\n")
            said.append(reply())
        client.sendall(text)
        said.append(reply())
        client.sendall(b"QUIT\r\n")
        return [*said, reply()]


@pytest.mark.parametrize("ending", LAX_ENDS, ids=lambda ending: ending.hex())
def test_one_message_goes_in_and_at_most_one_comes_out(gatekeeper: Gatekeeper, postfix: Postfix, ending: bytes):
    mark = f"mark-{ending.hex()}"
    head = f"From: <a@good.test>\r\nDate: Fri, 27 Nov 2026 12:00:00 +0000\r\nSubject: {mark}\r\n\r\nfirst".encode()
    before = len(postfix.delivered("bob"))
    *setup, answer, bye = converse(gatekeeper.port, head + ending + SECOND)
    assert setup == ["220", "250", "250", "250", "354"]
    assert answer in {"250", "550"}
    assert bye == "221"  # no second message was heard between
    if answer == "250":
        content = postfix.wait_for_mail("alice", mark)
        assert b"Subject: smuggled" in content  # as text of the first
    wait_until("Postfix to log its end", lambda: postfix.log().count("disconnect from") > 0)
    assert len(postfix.delivered("bob")) == before
