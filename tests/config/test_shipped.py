"""The configuration file that ships."""

import re
from pathlib import Path

import pytest

from gatekeeper import pipeline
from gatekeeper.config import defaults, read, shipped
from gatekeeper.config.configuration import SECTIONS

ROOT = Path(__file__).parents[2]


def test_the_file_in_the_repository_is_the_one_that_is_made():
    made, there = shipped.example_file(), (ROOT / "config" / "gatekeeper.toml").read_text()
    assert there == made, "run `make reference`"


def test_it_loads_and_takes_mail_for_a_postfix_on_the_same_machine():
    found = read(shipped.example_file(), "gatekeeper.toml")
    assert found.servers.smtp is not None
    assert found.servers.smtp.listen == ("127.0.0.1:10025",)
    assert found.servers.smtp.next_hop == "smtp://127.0.0.1:10026"
    assert found.checks == defaults().checks


def test_every_line_that_is_commented_out_can_be_taken_in():
    text = re.sub(r"^#(?=[^# \n])", "", shipped.example_file(), flags=re.MULTILINE)
    assert "\nrelay_domains = [" in text
    assert len(read(text, "gatekeeper.toml").checks) == len(pipeline.CHECKS)


def test_every_section_is_introduced():
    assert set(shipped.ABOUT) == set(SECTIONS)
    assert all(shipped.purpose(check) for check in pipeline.CHECKS)


@pytest.mark.parametrize("given", [shipped.SHIPPED, shipped.EXAMPLES], ids=["shipped", "examples"])
def test_nothing_is_shipped_for_a_setting_that_does_not_exist(given):
    text = shipped.example_file()
    for path in given:
        section, _, key = path.rpartition(".")
        assert re.search(rf"^#?{key} = |^#\[\[{re.escape(path)}\]\]$|^\[{re.escape(path)}\]$", text, re.MULTILINE), path
        assert not section or f"[{section}]" in text


def test_what_is_in_force_can_be_loaded_again():
    found = read(shipped.example_file(), "f")
    assert read(shipped.effective(found), "f") == found


def test_a_check_that_is_switched_off_is_shown_so():
    found = read("[checks.helo]\nenabled = false", "f")
    assert read(shipped.effective(found), "f").check("helo") is None


TOML_FILES = sorted(path for path in (ROOT / "config").rglob("*.toml") if path.parent.name != "rules")
"""Files of rules are no configuration: tests/rules/ tries those."""


@pytest.mark.parametrize("path", TOML_FILES, ids=lambda path: path.name)
def test_every_example_configuration_loads(path):
    read(path.read_text(), str(path))


def _blocks() -> list[tuple[str, str]]:
    texts = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        (f"{path.relative_to(ROOT)}:{number}", block)
        for path in texts
        for number, block in enumerate(
            re.findall(r"^```toml\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL), 1
        )
    ]


@pytest.mark.parametrize(("place", "block"), _blocks())
def test_every_configuration_in_the_documentation_loads(place, block):
    read(block, place)


def test_servers_that_the_file_does_not_open_stand_in_it_commented_out():
    assert "\n#[servers.milter]\n# " in shipped.example_file()
    assert read(shipped.example_file(), "f").servers.milter is None
    assert read("[servers.milter]", "f").servers.milter is not None


def test_what_is_in_force_is_shown_without_secrets():
    found = read('[servers.http]\ntoken = "0123456789abcdef0123456789"\n', "f")
    shown = shipped.effective(found)
    assert "0123456789abcdef" not in shown
    assert "#token is set" in shown


@pytest.mark.parametrize("check", ["dnsbl", "uribl"])
def test_what_is_in_force_is_shown_without_a_subscribers_key_in_a_zone(check):
    key = "U5t6abcd2efgh3ijkl4mnopqrs"
    zones = f"{key}.zen.dq.spamhaus.net", "bl.example"
    text = "".join(f'[[checks.{check}.lists]]\nzone = "{zone}"\nname = "L{len(zone)}"\nscore = 1.0\n' for zone in zones)
    shown = shipped.effective(read(text, "f"))
    assert key.lower() not in shown.lower()
    assert '\n#zone = "(key).zen.dq.spamhaus.net"' in shown
    assert '\nzone = "bl.example"\n' in shown
