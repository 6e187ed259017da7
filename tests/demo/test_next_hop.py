"""The demonstration's mail server: it keeps mail for those it knows, and knows nobody else."""

import mailbox

import pytest

from gatekeeper.demo.next_hop import MaildirNextHop
from tests.support.smtp_client import SmtpClient


@pytest.fixture
async def hop(tmp_path):
    server = MaildirNextHop(tmp_path, "example.org", ["alice"])
    port = await server.open()
    yield port
    await server.close()


@pytest.mark.parametrize(
    ("recipient", "answer"),
    [
        ("alice@example.org", "250 2.1.5"),
        ("Alice@EXAMPLE.org", "250 2.1.5"),
        ("bob@example.org", "550 5.1.1"),
        ("alice@example.net", "554 5.7.1"),
        ("relay-probe@relay-test.invalid", "554 5.7.1"),  # or gatekeeper would not run in front of it
    ],
)
async def test_names_it_does_not_know_are_refused(hop, recipient, answer):
    async with SmtpClient(hop) as client:
        await client.say("EHLO gatekeeper.example", "MAIL FROM:<a@example.net>")
        assert (await client(f"RCPT TO:<{recipient}>"))[:9] == answer


async def test_mail_is_kept_as_it_came_in_a_maildir(hop, tmp_path):
    async with SmtpClient(hop) as client:
        await client("EHLO gatekeeper.example")
        answers = [await client.mail(f"Subject: {n}\r\n\r\n..dot\r\n", to="alice@example.org") for n in (1, 2)]
    assert answers == ["250 2.0.0 Ok: queued as DEMO1", "250 2.0.0 Ok: queued as DEMO2"]
    kept = [message.as_bytes() for message in mailbox.Maildir(tmp_path / "Maildir", create=False)]
    assert sorted(kept) == [b"Subject: 1\n\n.dot\n", b"Subject: 2\n\n.dot\n"]
