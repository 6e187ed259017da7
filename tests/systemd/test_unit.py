"""The units that ship, as systemd itself reads them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gatekeeper.servers.sockets import BACKLOG
from gatekeeper.wire.process import EXIT_CONFIGURATION, Settings

UNITS = Path(__file__).parents[2] / "systemd"


def read(name: str) -> dict[str, dict[str, list[str]]]:
    """Section -> key -> its values in order; systemd lets a key stand several times."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


SERVICE = read("gatekeeper.service")["Service"]


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
    return found


@pytest.mark.parametrize("name", sorted(unit.name for unit in UNITS.glob("*.service")))
def test_the_service_is_hardened(analyze: str, name: str):
    ran = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(UNITS / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    score = re.search(rf"Overall exposure level for {re.escape(name)}: ([0-9.]+)", ran.stdout)
    assert score, ran.stdout + ran.stderr
    assert float(score[1]) < 2.0, ran.stdout


def test_systemd_finds_nothing_wrong(analyze: str, tmp_path: Path):
    for unit in (path for path in UNITS.rglob("*") if path.is_file()):
        # What it starts need not be installed here.
        text = unit.read_text().replace(SERVICE["ExecStart"][0].split()[0], sys.executable)
        copy = tmp_path / unit.relative_to(UNITS)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(text)
    units = sorted(str(path) for path in tmp_path.iterdir() if path.is_file())
    ran = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False)
    complaints = [line for line in ran.stderr.splitlines() if "gatekeeper" in line]
    assert (ran.returncode, complaints) == (0, [])


def test_only_the_parent_is_told_to_stop():
    assert SERVICE["KillMode"] == ["mixed"]


def test_systemd_waits_longer_than_we_do():
    assert float(SERVICE["TimeoutStopSec"][0]) > Settings().drain + 10
    assert float(SERVICE["TimeoutStartSec"][0]) > Settings().start + 10


def test_a_wrong_configuration_is_not_started_again():
    assert SERVICE["Restart"] == ["on-failure"]
    assert SERVICE["RestartPreventExitStatus"] == [str(EXIT_CONFIGURATION)]


def test_low_ports_are_the_only_privilege():
    assert SERVICE["AmbientCapabilities"] == SERVICE["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    assert SERVICE["NoNewPrivileges"] == SERVICE["DynamicUser"] == ["yes"]


def test_what_the_program_needs_is_there():
    assert SERVICE["Type"] == ["notify"]
    assert SERVICE["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    for directory in ("StateDirectory", "RuntimeDirectory", "ConfigurationDirectory"):
        assert SERVICE[directory] == ["gatekeeper"]
    assert int(SERVICE["LimitNOFILE"][0]) >= 65536
    generations, processes, threads = 2, 64, 16
    assert int(SERVICE["TasksMax"][0]) >= generations * processes * threads


@pytest.mark.parametrize("name", sorted(unit.name for unit in UNITS.glob("*.socket")))
def test_a_socket_unit_has_the_name_it_tells_to_write(name: str):
    unit = read(name)["Socket"]
    (told,) = unit["FileDescriptorName"]
    assert f'listen = ["systemd:{told}"]' in (UNITS / name).read_text()
    assert unit["Service"] == ["gatekeeper.service"]
    assert unit["Backlog"] == [str(BACKLOG)]


def test_port_25_is_opened_on_addresses_of_ones_own():
    """Postfix keeps 127.0.0.1:25, so that nobody else can have it on every address."""
    unit = read("gatekeeper.socket")["Socket"]
    assert unit["ListenStream"] == ["203.0.113.5:25", "[2001:db8::5]:25"]
    assert unit["FreeBind"] == ["yes"]  # or a boot before the network is up would leave the port closed
    for page in (UNITS.parent / "docs").rglob("*.md"):
        assert not re.search(r"listen = .*(0\.0\.0\.0|\[::\]):25\"", page.read_text()), page


def test_the_milters_socket_stands_where_postfix_is_told_to_look():
    main = (UNITS.parent / "config" / "postfix" / "milter.main.cf").read_text()
    (path,) = read("gatekeeper-milter.socket")["Socket"]["ListenStream"]
    assert f"smtpd_milters = unix:{path.removeprefix('/var/spool/postfix/')}\n" in main


def test_the_policy_services_socket_stands_where_its_page_tells_postfix_to_look():
    page = (UNITS.parent / "docs" / "modes" / "policy-service.md").read_text()
    (path,) = read("gatekeeper-policy.socket")["Socket"]["ListenStream"]
    assert f"`check_policy_service unix:{path.removeprefix('/var/spool/postfix/')}`" in page
    assert read("gatekeeper-policy.socket")["Socket"]["SocketUser"] == ["postfix"]


def test_reports_use_the_same_user_and_state_and_no_privilege():
    report = read("gatekeeper-report.service")["Service"]
    for key in ("DynamicUser", "User", "StateDirectory", "StateDirectoryMode", "ConfigurationDirectory", "UMask"):
        assert report[key] == SERVICE[key]
    assert report["CapabilityBoundingSet"] == report["AmbientCapabilities"] == [""]
    assert report["ExecStart"] == ["/opt/gatekeeper/bin/gatekeeper report dmarc"]


def test_a_drop_in_for_one_of_those_who_share_the_state_is_there_for_all():
    """systemd moves the state to /var/lib/private for a dynamic user and back for another, whoever runs meanwhile."""
    sharing = [unit.name for unit in UNITS.glob("*.service") if "StateDirectory" in read(unit.name)["Service"]]
    assert sorted(sharing) == ["gatekeeper-report.service", "gatekeeper.service"]
    for unit in sharing:
        drop_in = read(f"{unit}.d/learning.conf")["Service"]
        lost = {"ProtectSystem": ["strict"], "PrivateTmp": ["yes"], "RemoveIPC": ["yes"], "RestrictSUIDSGID": ["yes"]}
        assert drop_in["DynamicUser"] == ["no"]
        assert drop_in | lost == drop_in
    for page in ("learning.md", "dmarc-reports.md"):
        text = (UNITS.parent / "docs" / page).read_text()
        assert all(f"{unit}.d/learning.conf" in text for unit in sharing), page


def test_reports_are_not_all_sent_at_the_same_moment():
    timer = read("gatekeeper-report.timer")["Timer"]
    assert timer["OnCalendar"][0].endswith(" UTC")
    assert timer["RandomizedDelaySec"] == ["3h"]
    assert timer["FixedRandomDelay"] == timer["Persistent"] == ["yes"]
