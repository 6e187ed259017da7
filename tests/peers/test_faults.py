"""When Postfix goes, would relay for strangers, or is guessed at; and how the program stops and reloads."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.conftest import CHECKS
from tests.peers.instances import Gatekeeper, Postfix, free_port, listens, wait_until
from tests.peers.test_front import GOOD, Client, message, records, rules


@pytest.fixture
def pair(workplace: Path, nameserver: int) -> Iterator[tuple[Postfix, Gatekeeper]]:
    """A Postfix and a gatekeeper of a test's own."""
    directory = Path(tempfile.mkdtemp(dir=workplace))  # a short name: Postfix makes sockets below it
    directory.chmod(0o755)
    postfix = Postfix(directory / "postfix", ["alice", "bob"])
    postfix.start()
    extra = CHECKS + '[checks.stacking]\nbudget = 5.0\nslow_delay = "10ms"\n'
    gatekeeper = Gatekeeper(directory, next_hop=f"smtp://127.0.0.1:{postfix.port}", nameserver=nameserver, extra=extra)
    gatekeeper.start()
    yield postfix, gatekeeper
    gatekeeper.stop()
    postfix.stop()


def test_postfix_stopped_mid_message_gives_a_4xx_and_nothing_is_said_to_be_accepted(
    pair: tuple[Postfix, Gatekeeper],
) -> None:
    postfix, gatekeeper = pair
    client = Client(gatekeeper, GOOD)
    assert client.mail("a@good.test")[0] == 250
    assert client.rcpt("alice@example.org")[0] == 250
    assert client.docmd("DATA")[0] == 354
    content = message("a@good.test", "cut off")
    client.octets(content[:100])
    postfix.stop()
    client.octets(content[100:] + b".\r\n")
    code, text = client.getreply()
    assert 400 <= code < 500, text
    client.close()
    found = records(gatekeeper, "--sender", "a@good.test")
    assert all(r["reply"]["code"] >= 400 for r in found)
    assert not any(r["queue_id"] for r in found)
    # and it comes back by itself
    postfix.start()
    with Client(gatekeeper, GOOD) as again:
        assert again.deliver("a@good.test", ["alice@example.org"], content)[0] == 250
    postfix.wait_for_mail("alice", "cut off")


def test_a_postfix_that_is_away_gives_a_451_to_each_recipient(pair: tuple[Postfix, Gatekeeper]) -> None:
    postfix, gatekeeper = pair
    postfix.stop()
    with Client(gatekeeper, GOOD) as client:
        client.mail("a@good.test")
        for name in ("alice", "nobody"):
            code, text = client.rcpt(f"{name}@example.org")
            assert code == 451, text


def test_a_harvest_is_slowed_then_blind_then_refused(pair: tuple[Postfix, Gatekeeper]) -> None:
    _postfix, gatekeeper = pair
    client = Client(gatekeeper, "198.51.100.77")
    client.mail("probe@good.invalid")
    answers = []
    for n in range(60):
        code, text = client.rcpt(f"guess{n}@example.org" if n % 7 else "alice@example.org")
        answers.append((code, text))
        if code == 421:
            break
    codes = [code for code, _ in answers]
    assert codes[-1] == 421
    blind = {text for code, text in answers if code == 451}
    assert len(blind) == 1  # one answer for every name, known or not
    assert codes.index(451) <= 16
    client.close()
    # the next session is refused at once, as soon as it says who it is
    with pytest.raises(AssertionError):
        Client(gatekeeper, "198.51.100.77").deliver("probe@good.invalid", ["alice@example.org"], b"")
    exposition = gatekeeper.get("/metrics")
    for step in ("slowed", "alike", "refused"):
        assert f'gatekeeper_stacking_steps_total{{step="{step}"}} 0.0' not in exposition
    found = records(gatekeeper, "--address", "198.51.100.77", at_least=3)
    assert {"STACKING_SLOW", "STACKING_BLIND", "STACKING_BLOCKED"} <= {rule for one in found for rule in rules(one)}
    with Client(gatekeeper, GOOD) as other:
        assert other.deliver("a@good.test", ["alice@example.org"], message("a@good.test", "unharmed"))[0] == 250


def test_it_refuses_to_run_in_front_of_an_mta_that_relays_for_strangers(workplace: Path, nameserver: int) -> None:
    directory = workplace / "relay"
    directory.mkdir()
    postfix = Postfix(directory / "postfix", ["alice"], relay_for_all=True)
    postfix.start()
    try:
        gatekeeper = Gatekeeper(directory, next_hop=f"smtp://127.0.0.1:{postfix.port}", nameserver=nameserver)
        done = subprocess.run(
            gatekeeper.command("run", "-c", str(gatekeeper.config)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "relay" in done.stderr
        assert "smtpd_relay_restrictions" in done.stderr
        # with relay_domains set it runs, and refuses other domains itself
        guarded = Gatekeeper(
            directory,
            next_hop=f"smtp://127.0.0.1:{postfix.port}",
            nameserver=nameserver,
            top='relay_domains = ["example.org"]',
        )
        guarded.start()
        try:
            with Client(guarded, GOOD) as client:
                client.mail("a@good.test")
                assert client.rcpt("alice@example.org")[0] == 250
                for foreign in ("x@elsewhere.test", "x%elsewhere.test@example.org", '"x@elsewhere.test"@example.org'):
                    assert client.rcpt(foreign)[0] == 550
        finally:
            guarded.stop()
    finally:
        postfix.stop()


def test_a_next_hop_that_is_away_at_start_makes_every_recipient_wait(workplace: Path, nameserver: int) -> None:
    directory = workplace / "unsure"
    directory.mkdir()
    gatekeeper = Gatekeeper(directory, next_hop=f"smtp://127.0.0.1:{free_port()}", nameserver=nameserver)
    gatekeeper.start()
    try:
        with Client(gatekeeper, GOOD) as client:
            client.mail("a@good.test")
            assert client.rcpt("alice@example.org")[0] == 451
    finally:
        assert gatekeeper.stop() == 0


def test_a_reload_keeps_sessions_and_a_bad_configuration_keeps_the_old_one(pair: tuple[Postfix, Gatekeeper]) -> None:
    _, gatekeeper = pair
    assert gatekeeper.process is not None
    client = Client(gatekeeper, GOOD)
    assert client.mail("a@good.test")[0] == 250
    good = gatekeeper.config.read_text()
    gatekeeper.config.write_text(good + "\n[polcy]\ntag = 1.0\n")
    gatekeeper.process.process.send_signal(signal.SIGHUP)
    wait_until("the refusal of the new configuration", lambda: "reload_refused" in gatekeeper.log())
    gatekeeper.config.write_text(good + "\n[policy]\ntag = 4.0\n")
    gatekeeper.process.process.send_signal(signal.SIGHUP)
    try:
        wait_until("the new configuration", lambda: " reloaded " in gatekeeper.log(), 60)
    except AssertionError as late:
        raise AssertionError(f"{late}:\n{gatekeeper.log()}") from None
    assert client.rcpt("alice@example.org")[0] == 250
    assert client.data(message("a@good.test", "over a reload"))[0] == 250
    client.close()
    with Client(gatekeeper, GOOD) as again:
        assert again.deliver("a@good.test", ["alice@example.org"], message("a@good.test", "after"))[0] == 250


def one_mail(gatekeeper: Gatekeeper, subject: str) -> None:
    """A session of one mail; after that it may be told that we go, or say QUIT before it is."""
    client = Client(gatekeeper, GOOD)
    answer = client.deliver("a@good.test", ["bob@example.org"], message("a@good.test", subject))
    assert answer[0] == 250, (subject, answer)
    assert client.docmd("QUIT")[0] in (221, 421)
    client.close()


def test_reloads_lose_no_session(pair: tuple[Postfix, Gatekeeper]) -> None:
    """Whoever was let in has its first mail, whichever generation has taken it."""
    postfix, gatekeeper = pair
    assert gatekeeper.process is not None
    sent = asked = 0
    while asked < 4 or gatekeeper.log().count(" reloaded ") < asked:
        if asked < 4 and gatekeeper.log().count(" reloaded ") == asked:
            gatekeeper.process.process.send_signal(signal.SIGHUP)
            asked += 1
        one_mail(gatekeeper, f"reload {sent}.")
        sent += 1
    for n in range(sent):
        postfix.wait_for_mail("bob", f"reload {n}.")


def test_an_upgrade_loses_no_connection_and_no_message(pair: tuple[Postfix, Gatekeeper]) -> None:
    postfix, gatekeeper = pair
    assert gatekeeper.process is not None
    client = Client(gatekeeper, GOOD)  # a session that was open before goes on with the old version
    assert client.mail("a@good.test")[0] == 250
    gatekeeper.process.process.send_signal(signal.SIGUSR2)
    sent = 0
    while " upgraded " not in gatekeeper.log() or gatekeeper.log().rfind(" reloaded ") < gatekeeper.log().rfind(
        " upgraded "
    ):
        one_mail(gatekeeper, f"upgrade {sent}.")
        sent += 1
    assert client.rcpt("alice@example.org")[0] == 250
    assert client.data(message("a@good.test", "over an upgrade"))[0] == 250
    client.close()
    assert gatekeeper.process.process.poll() is None
    for n in range(sent):
        postfix.wait_for_mail("bob", f"upgrade {n}.")


def test_sigterm_lets_a_message_finish(pair: tuple[Postfix, Gatekeeper]) -> None:
    postfix, gatekeeper = pair
    assert gatekeeper.process is not None
    client = Client(gatekeeper, GOOD)
    client.mail("a@good.test")
    client.rcpt("alice@example.org")
    assert client.docmd("DATA")[0] == 354
    gatekeeper.process.process.send_signal(signal.SIGTERM)
    wait_until("the listener to close", lambda: not listens(gatekeeper.port))
    client.octets(message("a@good.test", "while draining") + b".\r\n")
    assert client.getreply()[0] == 250
    client.close()
    assert gatekeeper.stop() == 0
    postfix.wait_for_mail("alice", "while draining")
