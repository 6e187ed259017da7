"""`gatekeeper doctor` and Postfix's own postconf: on each setting that ships, and on some that are wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.conftest import need
from tests.peers.instances import ROOT, Gatekeeper, Postfix
from tests.peers.test_behind import Behind
from tests.peers.test_behind import start as start_behind


@dataclass(frozen=True)
class Said:
    """What the doctor said: promise -> its row."""

    status: int
    rows: Mapping[str, dict[str, Any]]

    @property
    def impossible(self) -> set[str]:
        return {name for name, row in self.rows.items() if not row["possible"]}

    @property
    def broken(self) -> set[str]:
        rows = self.rows.items()
        return {name for name, row in rows if row["standing"] == "does not hold here" and row["possible"]}

    def mend(self, promise: str) -> str:
        mend = self.rows[promise]["mend"]
        return ": ".join(part for part in (Path(mend["file"]).name, mend["place"], mend["line"]) if part)


def doctor(config: Path, postfix: Path) -> Said:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "gatekeeper", "doctor", "--json"),
            *("-c", str(config), "--postfix-config", str(postfix)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode in (0, 1), done.stderr
    said = json.loads(done.stdout)
    assert said["sound"] is (done.returncode == 0)
    return Said(done.returncode, {row["promise"]: row for row in said["promises"]})


def changed(directory: Path, into: Path, **replacing: Mapping[str, str]) -> Path:
    """A copy of a Postfix configuration with other words in it; `main={"a": "b"}`, `master={…}`."""
    shutil.copytree(directory, into)
    for name, words in replacing.items():
        file = into / f"{name}.cf"
        text = file.read_text()
        for old, new in words.items():
            assert old in text, f"{old} is not in {name}.cf"
            text = text.replace(old, new)
        file.write_text(text)
    return into


# --- front ---------------------------------------------------------------------------------------------------------


def test_front_as_it_ships(gatekeeper: Gatekeeper, postfix: Postfix) -> None:
    said = doctor(gatekeeper.config, postfix.etc)
    assert said.rows["client-shown"]["mode"] == "front"
    assert (said.impossible, said.broken, said.status) == ({"tls-shown"}, set(), 0)


def test_front_with_a_listener_that_trusts_local_clients(
    gatekeeper: Gatekeeper, postfix: Postfix, tmp_path: Path
) -> None:
    closed = "smtpd_relay_restrictions=reject_unauth_destination"
    wrong = changed(
        postfix.etc, tmp_path / "etc", master={closed: closed.replace("reject", "permit_mynetworks,reject")}
    )
    (wrong / "refusals").unlink()
    said = doctor(gatekeeper.config, wrong)
    assert (said.broken, said.status) == ({"relay-closed"}, 1)
    assert said.mend("relay-closed") == f"master.cf: 127.0.0.1:{postfix.port} inet: -o {closed}"


def test_front_with_a_wide_trust_an_open_page_and_a_public_resolver(
    gatekeeper: Gatekeeper, postfix: Postfix, tmp_path: Path
) -> None:
    text = gatekeeper.config.read_text()
    text = text.replace('trust = ["127.0.0.1/32"]', 'trust = ["0.0.0.0/0"]')
    text = text.replace(f'"127.0.0.1:{gatekeeper.http}"', f'"0.0.0.0:{gatekeeper.http}"')
    text = re.sub(r'nameservers = \["(.*)"\]', r'nameservers = ["\1", "8.8.8.8"]', text)  # the second is never asked
    config = tmp_path / "gatekeeper.toml"
    config.write_text(text)
    said = doctor(config, postfix.etc)
    assert {"trust", "http-private", "resolver-own"} <= said.broken
    assert said.mend("trust") == 'gatekeeper.toml: [servers.smtp]: trust = ["127.0.0.1/32"]'
    assert said.mend("http-private") == f'gatekeeper.toml: [servers.http]: listen = ["127.0.0.1:{gatekeeper.http}"]'
    assert said.mend("resolver-own") == 'gatekeeper.toml: [dns]: nameservers = ["127.0.0.1:53"]'


def test_front_with_a_listener_that_takes_no_xclient(gatekeeper: Gatekeeper, workplace: Path, tmp_path: Path) -> None:
    """The wrong Postfix runs: what it offers counts, not what is written."""
    need("postfix")
    wrong = Postfix(workplace / "doctor-front", ["alice"], relay_for_all=True)
    wrong.start()
    try:
        config = tmp_path / "gatekeeper.toml"
        config.write_text(
            '[servers.smtp]\nlisten = ["127.0.0.1:0"]\n'
            f'next_hop = "smtp://127.0.0.1:{wrong.port}"\n[store]\nurl = "memory:"\n'
        )
        said = doctor(config, wrong.etc)
    finally:
        wrong.stop()
    assert said.mend("client-shown") == (
        f"master.cf: 127.0.0.1:{wrong.port} inet: -o smtpd_authorized_xclient_hosts=127.0.0.1"
    )
    assert "relay-closed" in said.broken


# --- behind --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def behind(workplace: Path, nameserver: int) -> Iterator[Behind]:
    need("postfix")
    both = start_behind(workplace / "doctor-behind", nameserver)
    yield both
    both.gatekeeper.stop()
    both.postfix.stop()


def test_behind_as_it_ships(behind: Behind) -> None:
    said = doctor(behind.gatekeeper.config, behind.postfix.etc)
    assert said.rows["client-shown"]["mode"] == "behind"
    assert said.impossible == {"vrfy-seen", "harvest-seen", "wire", "slowed", "drop", "patience"}
    assert (said.broken, said.status) == (set(), 0)


def test_behind_with_everything_wrong(behind: Behind, tmp_path: Path) -> None:
    wrong = changed(
        behind.postfix.etc,
        tmp_path / "etc",
        master={
            "smtpd_proxy_options=": "smtpd_proxy_options=speed_adjust",
            "disable_vrfy_command=yes": "disable_vrfy_command=no",
            "smtpd_authorized_xforward_hosts=127.0.0.1": "smtpd_authorized_xforward_hosts=",
            "smtpd_relay_restrictions=reject_unauth_destination": "smtpd_relay_restrictions=permit_mynetworks,reject",
        },
    )
    config = tmp_path / "gatekeeper.toml"
    text = behind.gatekeeper.config.read_text()
    config.write_text(text.replace('final = "50s"', 'final = "5m"').replace('trust = ["127.0.0.1/32"]', "trust = []"))
    said = doctor(config, wrong)
    door, inner = f"127.0.0.1:{behind.port} inet", f"127.0.0.1:{behind.postfix.port} inet"
    assert {name: said.mend(name) for name in said.broken} == {
        "one-answer": f"master.cf: {door}: -o smtpd_proxy_options=",
        "vrfy-silent": f"master.cf: {door}: -o disable_vrfy_command=yes",
        "client-shown": f"master.cf: {inner}: -o smtpd_authorized_xforward_hosts=127.0.0.1",
        "relay-closed": f"master.cf: {inner}: -o smtpd_relay_restrictions=reject_unauth_destination",
        "in-time": 'gatekeeper.toml: [nexthop]: final = "50s"',
        "client-known": 'gatekeeper.toml: [servers.smtp]: trust = ["127.0.0.1/32"]',
    }


# --- milter, policy service ----------------------------------------------------------------------------------------


def beside(directory: Path, shipped: str, ours: str, *, nameserver: int, chroot: str = "y") -> tuple[Path, Path]:
    """Our configuration, and a Postfix that need not run: one service as Debian has it, and the settings that ship."""
    need("postfix")
    etc = directory / "etc"
    etc.mkdir()
    text = (ROOT / "config/postfix" / shipped).read_text()
    (etc / "main.cf").write_text(f"compatibility_level = 3.6\nqueue_directory = {directory}/queue\n{text}")
    (etc / "master.cf").write_text(f"smtp inet n - {chroot} - - smtpd\npickup unix n - y 60 1 pickup\n")
    config = directory / "gatekeeper.toml"
    config.write_text(f'{ours}\n[dns]\nnameservers = ["127.0.0.1:{nameserver}"]\n[store]\nurl = "memory:"\n')
    return config, etc


MILTER = '[servers.milter]\nlisten = ["systemd:milter"]\n'
POLICY = '[servers.policy_service]\nlisten = ["127.0.0.1:10028"]\n'


def test_milter_as_it_ships(tmp_path: Path, nameserver: int) -> None:
    said = doctor(*beside(tmp_path, "milter.main.cf", MILTER, nameserver=nameserver))
    assert said.rows["asked"] == {**said.rows["asked"], "mode": "milter", "standing": "holds"}
    assert said.impossible == {"vrfy-seen", "wire", "slowed", "patience"}
    assert (said.broken, said.status) == (set(), 0)


def test_milter_with_everything_wrong(tmp_path: Path, nameserver: int) -> None:
    ours = '[servers.milter]\nlisten = ["unix:/run/gatekeeper/milter"]\n'
    config, etc = beside(tmp_path, "milter.main.cf", ours, nameserver=nameserver)
    wrong = changed(
        etc,
        tmp_path / "wrong",
        main={
            "smtpd_milters = unix:gatekeeper/milter": "smtpd_milters = unix:/run/gatekeeper/milter",
            "milter_default_action = tempfail": "milter_default_action = accept",
            "milter_protocol = 6": "milter_protocol = 4",
            "milter_command_timeout = 30s": "milter_command_timeout = 5s",
            "disable_vrfy_command = yes": "disable_vrfy_command = no",
        },
    )
    said = doctor(config, wrong)
    path = f"{tmp_path}/queue/gatekeeper/milter"
    assert {name: said.mend(name) for name in said.broken} == {
        "socket": f'gatekeeper.toml: [servers.milter]: listen = ["unix:{path}?mode=0660&group=postfix"]',
        "fails-safe": "main.cf: milter_default_action = tempfail",
        "harvest-seen": "main.cf: milter_protocol = 6",
        "in-time": 'gatekeeper.toml: [gate]: before_data = "4s"',
        "vrfy-silent": "main.cf: disable_vrfy_command = yes",
    }


def test_a_milter_that_nobody_asks(tmp_path: Path, nameserver: int) -> None:
    config, etc = beside(tmp_path, "milter.main.cf", MILTER, nameserver=nameserver)
    wrong = changed(etc, tmp_path / "wrong", main={"smtpd_milters = unix:gatekeeper/milter": "smtpd_milters ="})
    said = doctor(config, wrong)
    assert said.mend("asked") == "main.cf: smtpd_milters = unix:gatekeeper/milter"
    assert said.mend("one-door") == "master.cf: 127.0.0.1:smtp inet n - y - - smtpd"


def test_policy_service_as_it_ships(tmp_path: Path, nameserver: int) -> None:
    said = doctor(*beside(tmp_path, "policy_service.main.cf", POLICY, nameserver=nameserver))
    assert said.rows["asked"] == {**said.rows["asked"], "mode": "policy service", "standing": "holds"}
    assert said.impossible == {"content", "leaving-seen", "wire"}
    assert (said.broken, said.status) == (set(), 0)


def test_policy_service_behind_what_refuses(tmp_path: Path, nameserver: int) -> None:
    config, etc = beside(tmp_path, "policy_service.main.cf", POLICY, nameserver=nameserver)
    with (etc / "main.cf").open("a") as main:
        check = "check_policy_service inet:127.0.0.1:10028"
        main.write(f"smtpd_recipient_restrictions = reject_unlisted_recipient, {check}\n")
        main.write("smtpd_policy_service_default_action = DUNNO\nsmtpd_data_restrictions =\n")
    said = doctor(config, etc)
    assert {name: said.mend(name) for name in said.broken} == {
        "harvest-seen": f"main.cf: smtpd_recipient_restrictions = {check}, reject_unlisted_recipient",
        "fails-safe": "main.cf: smtpd_policy_service_default_action = 451 4.3.5 Try again later",
        "marked": f"main.cf: smtpd_data_restrictions = {check}",
    }


def test_without_a_postfix_to_read_nothing_is_made_up(tmp_path: Path, nameserver: int) -> None:
    config, _ = beside(tmp_path, "milter.main.cf", MILTER, nameserver=nameserver)
    said = doctor(config, tmp_path / "nowhere")
    assert said.rows["vrfy-silent"]["standing"] == "cannot tell"
    assert said.rows["asked"]["why"].startswith("postconf: ")
    assert said.status == 0
