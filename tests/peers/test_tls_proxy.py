"""TLS with openssl and swaks, PROXY headers from haproxy, and both towards Postfix."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.conftest import need
from tests.peers.instances import PATH, Gatekeeper, Postfix, Process, free_port, listens, program, wait_until
from tests.peers.test_front import message, records
from tests.support.certificates import Authority

CLIENT = "127.0.0.5"  # not in trust, and so a client like any other


@dataclass
class Front:
    gatekeeper: Gatekeeper
    postfix: Postfix
    authority: Authority
    proxied: int  # where gatekeeper expects a PROXY header, on 127.0.0.1
    proxied6: int  # and on ::1


def front(directory: Path, postfix: Postfix, nameserver: int, nexthop: str = "") -> Front:
    directory.mkdir()
    authority = Authority(directory)
    proxied, proxied6 = free_port(), free_port()
    gatekeeper = Gatekeeper(
        directory,
        next_hop=f"smtp://127.0.0.1:{postfix.port}",
        nameserver=nameserver,
        smtp=f"""proxy_listen = ["127.0.0.1:{proxied}", "[::1]:{proxied6}"]
[servers.smtp.tls]
certificate = "{authority.certificate}"
key = "{authority.key}"
""",
        extra=nexthop,
    )
    # A key stands once in a table: both networks from which haproxy comes.
    text = gatekeeper.config.read_text().replace('trust = ["127.0.0.1/32"]', 'trust = ["127.0.0.1/32", "::1/128"]')
    gatekeeper.config.write_text(text)
    gatekeeper.start()
    return Front(gatekeeper, postfix, authority, proxied, proxied6)


@pytest.fixture(scope="module")
def xclient(workplace: Path, nameserver: int) -> Iterator[Front]:
    """In front of a Postfix that is told by XCLIENT, of IPv6 clients too."""
    need("postfix")
    postfix = Postfix(workplace / "postfix-both", ["alice", "bob"], main="inet_protocols = all\n")
    postfix.start()
    made = front(workplace / "tls", postfix, nameserver)
    yield made
    made.gatekeeper.stop()
    postfix.stop()


@pytest.fixture(scope="module")
def proxy(workplace: Path, nameserver: int) -> Iterator[Front]:
    """In front of one that is told by PROXY headers."""
    need("postfix")
    postfix = Postfix(
        workplace / "postfix-proxy",
        ["alice", "bob"],
        shipped="front-proxy.master.cf",
        main="inet_protocols = all\n",
    )
    postfix.start()
    made = front(workplace / "proxy", postfix, nameserver, '[nexthop]\nhand_on = "proxy"\n')
    yield made
    made.gatekeeper.stop()
    postfix.stop()


@pytest.fixture(scope="module")
def secured(workplace: Path, nameserver: int) -> Iterator[Front]:
    """In front of one that has a certificate, which is verified."""
    need("postfix")
    directory = workplace / "postfix-tls"
    directory.mkdir()
    authority = Authority(directory, name="mail.example.org")
    postfix = Postfix(
        directory / "instance",
        ["alice", "bob"],
        replacing={
            "127.0.0.1:10026 inet": "tlsmgr unix - - n 1000? 1 tlsmgr\n127.0.0.1:10026 inet",
            "smtpd_tls_security_level=none": "smtpd_tls_security_level=encrypt",
        },
        main=f"smtpd_tls_cert_file = {authority.certificate}\nsmtpd_tls_key_file = {authority.key}\n"
        "smtpd_tls_received_header = yes\n",
    )
    postfix.start()
    nexthop = f'[nexthop]\ntls = "verify"\ntls_ca_file = "{authority.ca_file}"\ntls_name = "mail.example.org"\n'
    made = front(workplace / "secured", postfix, nameserver, nexthop)
    yield made
    made.gatekeeper.stop()
    postfix.stop()


def deliver(
    port: int, subject: str, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, to: str = "alice"
) -> tuple[int, str]:
    """From CLIENT, or from ::1; the answer to the message."""
    source = (CLIENT, 0) if "." in host else ("::1", 0)
    sender = f"{subject.replace(' ', '-')}@good.invalid"
    with smtplib.SMTP(host, port, "client.good.test", timeout=30, source_address=source) as client:
        if tls is not None:
            client._host = "mx.example.org"  # type: ignore[attr-defined]  # the name that the certificate has
            client.starttls(context=tls)
        client.ehlo()
        client.mail(sender)
        client.rcpt(f"{to}@example.org")
        code, text = client.data(message(sender, subject))
        return code, text.decode()


def s_client(port: int, *arguments: str, said: bytes = b"QUIT\r\n") -> str:
    done = subprocess.run(
        ["openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{port}", *arguments],
        input=said,
        capture_output=True,
        timeout=60,
        check=False,
        env={"PATH": PATH},
    )
    return (done.stdout + done.stderr).decode(errors="replace")


# --- TLS -------------------------------------------------------------------------------------------------------------


def test_openssl_verifies_us_and_speaks_what_is_modern(xclient: Front) -> None:
    need("openssl")
    trusted = ("-CAfile", str(xclient.authority.ca_file), "-verify_hostname", "mx.example.org")
    for version in ("-tls1_3", "-tls1_2"):
        told = s_client(xclient.gatekeeper.port, version, *trusted)
        assert "Verify return code: 0 (ok)" in told, told
        assert "Cipher is (NONE)" not in told
    for old in ("-tls1_1", "-tls1"):
        assert "Cipher is (NONE)" in s_client(xclient.gatekeeper.port, old, "-cipher", "ALL:@SECLEVEL=0")
    weak = s_client(xclient.gatekeeper.port, "-tls1_2", "-cipher", "AES128-SHA:AES128-SHA256:ECDHE-ECDSA-AES128-SHA")
    assert "Cipher is (NONE)" in weak


def test_renegotiation_is_refused(xclient: Front) -> None:
    need("openssl")
    told = s_client(xclient.gatekeeper.port, "-tls1_2", said=b"R\n")
    assert "RENEGOTIATING" in told
    assert "no renegotiation" in told


def test_a_certificate_is_renewed_without_a_restart(xclient: Front) -> None:
    need("openssl")

    def serial() -> str:
        found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END", s_client(xclient.gatekeeper.port), flags=re.DOTALL)
        return found[0] if found else ""

    before = serial()
    assert before
    xclient.authority.renew()
    wait_until("the new certificate", lambda: serial() not in ("", before))
    text = xclient.gatekeeper.get("/metrics")
    assert re.search(r"^gatekeeper_tls_certificate_expires_timestamp_seconds [1-9]", text, flags=re.MULTILINE)


def test_tls_stands_in_our_received_field_and_in_the_record(xclient: Front) -> None:
    code, text = deliver(xclient.gatekeeper.port, "over starttls", tls=xclient.authority.client())
    assert code == 250, text
    delivered = xclient.postfix.wait_for_mail("alice", "Subject: over starttls").decode()
    ours = re.search(r"using (TLSv1\.3) with cipher (\S+) \((\d+) bits\)\)\s+by mx\.example\.org", delivered)
    assert ours is not None, delivered
    assert "with ESMTPS id" in delivered
    assert f"from client.good.test (unknown [{CLIENT}])" in delivered, "Postfix's own field has the client too"
    [record] = records(xclient.gatekeeper, "--sender", "over-starttls@good.invalid")
    tls = record["client"]["tls"]
    assert (tls["version"], tls["cipher"], str(tls["bits"])) == ours.groups()


def test_swaks_starts_tls(xclient: Front) -> None:
    need("swaks")
    able = subprocess.run(["swaks", "--support"], capture_output=True, text=True, check=False, env={"PATH": PATH})
    if "TLS supported" not in able.stdout:
        pytest.skip("this swaks has no TLS (libnet-ssleay-perl)")
    done = subprocess.run(
        [
            *("swaks", "--server", f"127.0.0.1:{xclient.gatekeeper.port}", "--tls", "--tls-sni", "mx.example.org"),
            *("--from", "a@good.invalid", "--to", "bob@example.org", "--h-Subject", "by swaks over tls"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": PATH},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TLS started with cipher TLSv1.3" in done.stdout


def test_postfix_is_verified_and_takes_mail_over_tls(secured: Front) -> None:
    code, text = deliver(secured.gatekeeper.port, "tls behind", tls=secured.authority.client())
    assert code == 250, text
    delivered = secured.postfix.wait_for_mail("alice", "Subject: tls behind").decode()
    first, second = re.findall(r"using TLSv1\.3 with cipher", delivered)
    assert first == second, "Postfix tells of ours, we tell of the client's"
    assert f"(unknown [{CLIENT}])" in delivered


def test_a_postfix_that_is_not_the_right_one_gets_no_mail(workplace: Path, secured: Front, nameserver: int) -> None:
    directory = workplace / "wrong"
    made = front(
        directory,
        secured.postfix,
        nameserver,
        f'[nexthop]\ntls = "verify"\ntls_ca_file = "{directory}/ca.pem"\ntls_name = "mail.example.org"\n',
    )
    try:
        with smtplib.SMTP("127.0.0.1", made.gatekeeper.port, "client.good.test", timeout=30) as client:
            client.ehlo()
            client.mail("a@good.invalid")
            code, text = client.rcpt("alice@example.org")
            assert code == 451, text
        assert "certificate verify failed" in made.gatekeeper.log()
    finally:
        made.gatekeeper.stop()


# --- PROXY -----------------------------------------------------------------------------------------------------------


@dataclass
class Haproxy:
    v1: int
    v2: int
    v1_six: int
    v2_six: int


@pytest.fixture(scope="module")
def haproxies(workplace: Path, xclient: Front, proxy: Front) -> Iterator[dict[str, Haproxy]]:
    """One haproxy before each of the two, on 127.0.0.1 and ::1."""
    need("haproxy")
    made: dict[str, Haproxy] = {}
    lines = ["global", "  maxconn 100", "defaults", "  mode tcp"]
    lines += [f"  timeout {what} 30s" for what in ("connect", "client", "server")]
    for name, front in (("xclient", xclient), ("proxy", proxy)):
        ports = [free_port() for _ in range(4)]
        made[name] = Haproxy(*ports)
        for version, bind, at in (
            ("v1", f"127.0.0.1:{ports[0]}", f"127.0.0.1:{front.proxied}"),
            ("v2", f"127.0.0.1:{ports[1]}", f"127.0.0.1:{front.proxied}"),
            ("v1", f"[::1]:{ports[2]}", f"[::1]:{front.proxied6}"),
            ("v2", f"[::1]:{ports[3]}", f"[::1]:{front.proxied6}"),
        ):
            send = "send-proxy" if version == "v1" else "send-proxy-v2"
            check = "" if version == "v1" else " check inter 500ms check-send-proxy"
            lines += [f"listen {name}-{version}-{'six' if '[' in bind else 'four'}"]
            lines += [f"  bind {bind}", f"  server gatekeeper {at} {send}{check}"]
            if check:
                lines += ["  option smtpchk EHLO haproxy.example"]
    config = workplace / "haproxy.cfg"
    config.write_text("\n".join(lines) + "\n")
    process = Process("haproxy", [program("haproxy") or "haproxy", "-db", "-f", str(config)], workplace)
    wait_until("haproxy", lambda: all(listens(each.v1) and listens(each.v2) for each in made.values()))
    yield made
    process.stop()


@pytest.mark.parametrize("way", ["xclient", "proxy"])
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("six", [False, True])
def test_the_true_client_reaches_postfix_through_haproxy(
    haproxies: dict[str, Haproxy], xclient: Front, proxy: Front, way: str, version: str, *, six: bool
) -> None:
    front = xclient if way == "xclient" else proxy
    port = getattr(haproxies[way], f"{version}_six" if six else version)
    subject = f"{way} {version} {'six' if six else 'four'}"
    code, text = deliver(port, subject, host="::1" if six else "127.0.0.1")
    assert code == 250, text
    delivered = front.postfix.wait_for_mail("alice", f"Subject: {subject}").decode()
    seen = "[IPv6:::1]" if six else f"[{CLIENT}]"
    assert re.search(rf"^Received: from client\.good\.test \(\S+ {re.escape(seen)}\)", delivered, re.MULTILINE), (
        delivered
    )
    assert delivered.count("Received:") == 1, "the next hop's own says it all"
    [record] = records(front.gatekeeper, "--sender", f"{subject.replace(' ', '-')}@good.invalid")
    assert record["client"]["address"] == ("::1" if six else CLIENT)
    log = front.postfix.log()
    assert f"[{'::1' if six else CLIENT}]" in log


@pytest.mark.parametrize("way", ["xclient", "proxy"])
def test_tls_works_behind_haproxy(haproxies: dict[str, Haproxy], xclient: Front, proxy: Front, way: str) -> None:
    front = xclient if way == "xclient" else proxy
    code, text = deliver(haproxies[way].v2, f"{way} tls", tls=front.authority.client(), to="bob")
    assert code == 250, text
    delivered = front.postfix.wait_for_mail("bob", f"Subject: {way} tls").decode()
    assert "(using TLSv1.3 with cipher" in delivered
    assert f"[{CLIENT}]" in delivered


def test_haproxys_own_probes_are_local_and_bring_it_up(haproxies: dict[str, Haproxy], xclient: Front) -> None:
    def local() -> bool:
        text = xclient.gatekeeper.get("/metrics")
        return re.search(r'^gatekeeper_proxy_headers_total\{result="local"\} [1-9]', text, re.MULTILINE) is not None

    wait_until("a probe of haproxy's", local)


def test_without_a_header_nobody_is_greeted(xclient: Front) -> None:
    with socket.create_connection(("127.0.0.1", xclient.proxied), timeout=20) as sock:
        sock.sendall(b"EHLO client.good.test\r\n")
        assert sock.recv(100) == b""
    with socket.create_connection(("127.0.0.1", xclient.proxied), timeout=20, source_address=(CLIENT, 0)) as sock:
        sock.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""


def test_postfix_behind_proxy_headers_relays_for_nobody(proxy: Front) -> None:
    with smtplib.SMTP("127.0.0.1", proxy.gatekeeper.port, "x.test", timeout=30, source_address=(CLIENT, 0)) as client:
        client.ehlo()
        client.mail("a@good.invalid")
        code, text = client.rcpt("x@elsewhere.test")
        assert (code, text) == (554, b"5.7.1 <x@elsewhere.test>: Relay access denied")
        code, text = client.rcpt("nobody@example.org")
        assert code == 550, text


def test_a_postfix_that_takes_no_ipv6_is_told_of_an_unknown_client(workplace: Path, nameserver: int) -> None:
    postfix = Postfix(workplace / "postfix-proxy-four", ["alice"], shipped="front-proxy.master.cf")
    postfix.start()
    made = front(workplace / "proxy-four", postfix, nameserver, '[nexthop]\nhand_on = "proxy"\n')
    try:
        for subject in ("proxy six to four", "proxy six again"):
            with socket.create_connection(("127.0.0.1", made.proxied), timeout=30) as sock:
                sock.sendall(b"PROXY TCP6 2001:db8::7 ::1 40000 25\r\n")
                client = smtplib.SMTP(timeout=30, local_hostname="client.good.test")
                client.sock = sock
                assert client.getreply()[0] == 220
                client.ehlo()
                assert client.mail("a@good.invalid")[0] == 250
                assert client.rcpt("alice@example.org")[0] == 250
                assert client.rcpt("x@elsewhere.test")[0] == 554, "an unknown client is no local one"
                assert client.data(f"Subject: {subject}\r\n\r\nhi\r\n")[0] == 250
                client.quit()
            assert "Received:" in postfix.wait_for_mail("alice", f"Subject: {subject}").decode()
        assert 1 <= made.gatekeeper.log().count("client_not_handed_on") <= 2, "once in each worker"
    finally:
        made.gatekeeper.stop()
        postfix.stop()
