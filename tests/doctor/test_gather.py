"""Gathering the facts, from peers that behave as they are told."""

import os
import pwd
import secrets
import socket
import tempfile
from pathlib import Path

import pytest

from gatekeeper.config.configuration import read
from gatekeeper.doctor import gather as gathering
from gatekeeper.doctor.facts import Exchange, Facts, Port
from gatekeeper.doctor.gather import barrier_to, gather
from tests.support.closed import closed_to_us
from tests.support.dns_server import DnsServer, Fault
from tests.support.next_hop import XCLIENT, FakeNextHop

NAMES = {("org", "NS"): ["a0.org.afilias-nst.info."]}


@pytest.fixture(autouse=True)
def no_postconf(monkeypatch, tmp_path):
    """Whatever Postfix there is on this machine is not asked."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(gathering, "SBIN", "")


@pytest.fixture
def place():
    """A directory that others can come to, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


def postconf(tmp_path: Path, script: str) -> None:
    program = tmp_path / "bin" / "postconf"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


async def gathered(text: str = "", *, server: DnsServer | None = None, postfix_directory: str | None = None) -> Facts:
    """The facts of a configuration that asks that nameserver, or none that is there."""
    nameserver = server.address if server else "127.0.0.1:9"
    dns = f'[dns]\nnameservers = ["{nameserver}"]\ntimeout = "1s"\ntries = 1\n'
    return await gather(
        read(f'hostname = "mx.example.org"\n{text}\n{dns}', "g.toml"),
        file="g.toml",
        postfix_directory=postfix_directory,
    )


def smtp(next_hop: str, listen: str = "127.0.0.1:0") -> str:
    return f'[servers.smtp]\nlisten = ["{listen}"]\nnext_hop = "{next_hop}"\n[nexthop]\nconnect = "2s"\n'


# --- Postfix


async def test_postconf_is_asked_for_everything_with_the_directory_given(tmp_path):
    postconf(
        tmp_path,
        'echo "$@" >> ' + str(tmp_path / "asked") + '\ncase "$*" in\n'
        '*-M) echo "smtp inet n - y - - smtpd" ;;\n'
        '*-P*) echo "smtp/inet/smtpd_milters = x" ;;\n'
        '*) echo "config_directory = /somewhere"; echo "queue_directory = /q" ;;\nesac',
    )
    found = await gathered(postfix_directory="/somewhere")
    assert found.postfix is not None
    assert found.postfix.directory == "/somewhere"
    assert found.postfix.value("queue_directory") == "/q"
    assert found.postfix.value("smtpd_milters", found.postfix.services[0]) == "x"
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["-c /somewhere -x", "-c /somewhere -M", "-c /somewhere -P -x"]


async def test_without_postconf_that_is_said():
    found = await gathered()
    assert (found.postfix, "no postconf" in found.why_no_postfix) == (None, True)


async def test_what_postconf_complains_of_is_passed_on(tmp_path):
    postconf(tmp_path, 'echo "postconf: fatal: open /x/main.cf: No such file or directory" >&2; exit 1')
    assert (await gathered()).why_no_postfix == "postconf: fatal: open /x/main.cf: No such file or directory"


async def test_a_postconf_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "PATIENCE", 0.2)
    postconf(tmp_path, "exec /bin/sleep 60")
    assert "did not answer within" in (await gathered()).why_no_postfix


async def test_a_postconf_that_cannot_be_run_is_said(tmp_path):
    postconf(tmp_path, "")
    (tmp_path / "bin" / "postconf").write_text("#!/nonexistent/interpreter\n")
    assert "cannot be run" in (await gathered()).why_no_postfix


async def test_our_sockets_are_looked_at_with_the_eyes_of_postfixs_user(tmp_path, place):
    me = pwd.getpwuid(os.getuid()).pw_name
    path = place / "milter"
    postconf(
        tmp_path,
        f'case "$*" in *-x) echo "mail_owner = {me}"; echo "queue_directory = {place}" ;;\n'
        '*-M) echo "smtp inet n - y - - smtpd" ;; esac',
    )
    milter = f'[servers.milter]\nlisten = ["unix:{path}"]\n'
    assert (await gathered(milter)).barred == {}  # not there yet
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        path.chmod(0o600)
        assert (await gathered(milter)).barred == {str(path): ""}
        path.chmod(0o400)
        assert (await gathered(milter)).barred == {str(path): f"{path} is closed to the user {me}"}


async def test_an_unknown_owner_of_mail_has_no_eyes(tmp_path):
    postconf(tmp_path, 'case "$*" in *-x) echo "mail_owner = nobody-of-that-name" ;; esac')
    assert (await gathered()).barred == {}


# --- the next hop


async def test_the_next_hop_says_what_it_offers():
    async with FakeNextHop(capabilities={"SIZE": "1000", **XCLIENT}) as hop:
        found = (await gathered(smtp(hop.url))).next_hop
    assert found is not None
    assert found.takes_xclient
    assert found.capabilities is not None
    assert found.capabilities.offers("SIZE")


async def test_a_next_hop_that_is_away_or_refuses_is_told():
    async with FakeNextHop() as hop:
        url = hop.url
    away = (await gathered(smtp(url))).next_hop
    assert away is not None
    assert (away.capabilities, url in away.why) == (None, True)
    async with FakeNextHop(greeting="554 5.7.1 not you") as hop:
        refusing = (await gathered(smtp(hop.url))).next_hop
    assert refusing is not None
    assert "554" in refusing.why


async def test_a_next_hop_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(gathering, "PATIENCE", 0.2)
    async with FakeNextHop() as hop:
        hop.hold("connect")
        found = (await gathered(smtp(hop.url))).next_hop
        hop.go("connect")
    assert found is not None
    assert "did not answer within" in found.why


# --- DNS


async def test_a_resolver_that_knows_and_invents_nothing():
    async with DnsServer(NAMES) as server:
        found = (await gathered(server=server)).resolver
        names = {asked.name for asked in server.asked}
    assert (found.answers, found.invents, found.nameservers) == (True, False, ("127.0.0.1",))
    assert any(name.endswith(".invalid") for name in names)


async def test_a_resolver_that_invents_answers(monkeypatch):
    monkeypatch.setattr(secrets, "token_hex", lambda _octets: "0")
    async with DnsServer({**NAMES, ("gatekeeper-0.invalid", "A"): ["192.0.2.99"]}) as server:
        assert (await gathered(server=server)).resolver.invents


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.REFUSED, Fault.GARBAGE])
async def test_a_resolver_that_does_not_answer(fault):
    async with DnsServer({("org", "NS"): fault}) as server:
        found = (await gathered(server=server)).resolver
    assert (found.answers, "org NS" in found.why) == (False, True)


async def test_the_systems_nameservers_are_read_and_what_stands_behind_its_stub(tmp_path):
    conf, behind = tmp_path / "resolv.conf", tmp_path / "upstream.conf"
    conf.write_text("# nameserver 192.0.2.1\nsearch x\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver x\n")
    behind.write_text("nameserver 8.8.8.8\n")
    configuration = read('[dns]\ntimeout = "10ms"\ntries = 1\n', "g.toml")
    found = await gather(configuration, file="g.toml", resolv_conf=conf, upstreams=behind)
    assert found.resolver.nameservers == ("127.0.0.53", "fe80::1", "8.8.8.8")
    absent = await gather(configuration, file="g.toml", resolv_conf=tmp_path / "no", upstreams=tmp_path / "no")
    assert absent.resolver.nameservers == ()


async def test_each_mx_is_told_with_its_addresses_elsewhere():
    zone = {
        **NAMES,
        ("example.org", "MX"): ["10 mx1.example.org.", "20 mx2.example.org."],
        ("mx1.example.org", "A"): ["127.0.0.1"],
        ("mx2.example.org", "A"): ["192.0.2.7"],
        ("mx2.example.org", "AAAA"): ["2001:db8::7"],
        ("example.net", "MX"): ["0 ."],
    }
    async with DnsServer(zone) as server:
        found = await gathered('relay_domains = ["example.org", "example.net"]', server=server)
    assert sorted(found.exchanges, key=lambda each: each.host) == [
        Exchange("example.org", "mx1.example.org", ()),
        Exchange("example.org", "mx2.example.org", ("192.0.2.7", "2001:db8::7")),
    ]


# --- our own


async def test_the_certificate_is_looked_at_where_there_is_tls(tmp_path):
    tls = f'[servers.smtp.tls]\ncertificate = "{tmp_path}/cert.pem"\nkey = "{tmp_path}/key.pem"\n'
    found = (await gathered(smtp("smtp://127.0.0.1:9") + tls)).certificate
    assert found is not None
    assert "cannot be read" in found.faults[0]
    assert (await gathered(smtp("smtp://127.0.0.1:9"))).certificate is None


def listening() -> tuple[socket.socket, str]:
    one = socket.socket()
    one.bind(("127.0.0.1", 0))
    one.listen()
    return one, f"127.0.0.1:{one.getsockname()[1]}"


async def test_an_address_is_free_ours_or_somebody_elses():
    one, free = listening()
    one.close()
    ours, theirs = FakeNextHop(greeting="220 mx.example.org ESMTP"), FakeNextHop(greeting="220 other.example ESMTP")
    async with ours, theirs:
        for address, expected in (
            (free, Port.FREE),
            (f"127.0.0.1:{ours.port}", Port.OURS),
            (f"127.0.0.1:{theirs.port}", Port.TAKEN),
            ("192.0.2.1:10025", Port.NOT_HERE),
            ("systemd:smtp", Port.UNSEEN),
            ("unix:/run/gatekeeper/smtp", Port.FREE),
        ):
            found = await gathered(smtp("smtp://127.0.0.1:9", address))
            assert list(found.ports.values()) == [expected], address


async def test_what_says_nothing_is_not_called_somebody_elses(monkeypatch):
    monkeypatch.setattr(gathering, "KNOCK", 0.1)
    one, address = listening()
    with one:
        found = await gathered(smtp("smtp://127.0.0.1:9", address))
    assert list(found.ports.values()) == [Port.OURS]


def test_the_first_thing_that_bars_the_way_is_told(place):
    uid, gid = os.getuid(), os.getgid()

    def barrier(path: Path) -> str:
        """To a stranger."""
        return barrier_to(path, uid=uid + 1, groups=[gid + 1])

    room = place / "room"
    room.mkdir()
    room.chmod(0o750)
    path = room / "socket"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        path.chmod(0o660)
        assert barrier(path) == str(room)
        assert barrier_to(path, uid=uid + 1, groups=[gid]) == ""
        room.chmod(0o755)
        assert barrier(path) == str(path)
        assert barrier_to(path, uid=uid, groups=[]) == ""
        path.chmod(0o666)
        assert barrier(path) == ""
    assert barrier(room / "not made yet") == ""


async def test_authorities_that_cannot_be_used_are_the_next_hops_fault(tmp_path):
    text = f"[servers.smtp]\n[nexthop]\ntls = 'verify'\ntls_ca_file = '{tmp_path}/away.pem'\n"
    found = (await gathered(text)).next_hop
    assert found is not None
    assert (found.capabilities, found.cannot_verify) == (None, True)
    assert "away.pem cannot be read" in found.why


async def test_a_store_that_could_not_be_written_is_told(tmp_path):
    async def fault(path: Path) -> str:
        return (await gathered(f'[store]\nurl = "sqlite:{path}"')).store_fault

    assert await fault(tmp_path / "state.db") == ""
    assert "is not there" in await fault(tmp_path / "absent" / "state.db")
    (tmp_path / "directory").mkdir()
    assert "is a directory" in await fault(tmp_path / "directory")
    assert (await gathered('[store]\nurl = "memory:"')).store_fault == ""


async def test_a_store_in_a_directory_that_is_closed_to_us_is_a_fault_of_the_store(tmp_path, monkeypatch):
    closed_to_us(tmp_path / "closed", monkeypatch)
    found = await gathered(f'[store]\nurl = "sqlite:{tmp_path}/closed/state.db"')
    assert "closed/state.db cannot be read by us (run this as root" in found.store_fault


async def test_signing_keys_are_looked_at_and_asked_for(tmp_path):
    text = f'[[mailauth.signing.keys]]\ndomain = "example.org"\nselector = "s"\nfile = "{tmp_path}/none.pem"\n'
    (found,) = (await gathered(text)).signing
    assert found.name == "s._domainkey.example.org"
    assert "cannot be read" in found.fault
    assert (await gathered()).signing == ()
