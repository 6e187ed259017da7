"""Lists of names, of addresses in links and of digests, as rbldnsd serves them through unbound."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.dns.name_lists import digest
from tests.peers.conftest import need
from tests.peers.instances import start_rbldnsd, start_unbound

pytestmark = pytest.mark.peers

ZONES = {
    "dbl.test": (
        "dnset",
        "evil-shop.com :127.0.1.2:spam\nphish-shop.net :127.0.1.4:phish\nover.com :127.255.255.254:no\n",
    ),
    "surbl.test": (
        "combined",
        "$DATASET dnset @\nbroken-into.com :127.0.0.144:both\n$DATASET ip4set @\n192.0.2.99 :127.0.0.64:x\n",
    ),
    "hbl.test": ("dnset", f"{digest('drop@box-mail.com', 'sha256', 'base32')} :127.0.3.2:mail\n"),
}
CONFIGURATION = """
hostname = "mx.example.org"
[dns]
nameservers = ["127.0.0.1:{port}"]
[[checks.uribl.lists]]
zone = "dbl.test"
name = "DBL"
codes = {{ "127.0.1.2" = {{ name = "SPAM", score = 5.0 }}, "127.0.1.4" = {{ name = "PHISH", score = 6.0 }} }}
of = ["links", "sender", "helo"]
[[checks.uribl.lists]]
zone = "surbl.test"
name = "SURBL"
addresses = true
[checks.uribl.lists.codes]
"127.0.0.&16" = {{ name = "MALWARE", score = 5.0 }}
"127.0.0.&64" = {{ name = "ABUSE", score = 4.0 }}
"127.0.0.&128" = {{ name = "CRACKED", score = 2.0 }}
[[checks.uribl.lists]]
zone = "hbl.test"
name = "HBL"
score = 4.0
of = ["reply_to", "links"]
hash = "sha256"
encoding = "base32"
"""


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory, workplace: Path) -> Iterator[Path]:
    need("unbound", "rbldnsd")
    directory = workplace / "uribl"
    directory.mkdir()
    lists, list_port = start_rbldnsd(directory, ZONES)
    resolver, port = start_unbound(directory, [], dict.fromkeys(ZONES, list_port))
    path = tmp_path_factory.mktemp("uribl") / "gatekeeper.toml"
    path.write_text(CONFIGURATION.format(port=port))
    yield path
    resolver.stop()
    lists.stop()


def check(configuration: Path, body: str, *arguments: str, header: str = "") -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "gatekeeper", "check", "-", "--json", "-c", str(configuration), *arguments],
        input=f"From: a@author.com\nSubject: s\n{header}\n{body}\n".encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in {0, 1}, done.stderr.decode()
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def found(told: dict[str, Any]) -> set[str]:
    return {each["rule"] for each in told["findings"] if each["rule"].startswith("URIBL_")}


def test_domains_of_links_sender_and_helo_are_found(configuration: Path) -> None:
    told = check(
        configuration, "see http://www.evil-shop.com/x", "--from", "b@phish-shop.net", "--helo", "mx.evil-shop.com"
    )
    assert found(told) == {"URIBL_DBL_SPAM", "URIBL_DBL_PHISH"}
    assert not [each for each in told["missing"] if "uribl" in json.dumps(each)]


def test_an_address_in_numbers_is_asked_for_as_an_address(configuration: Path) -> None:
    assert found(check(configuration, "http://3221226083/login")) == {"URIBL_SURBL_ABUSE"}


def test_one_answer_may_name_several_lists(configuration: Path) -> None:
    assert found(check(configuration, "http://broken-into.com/")) == {"URIBL_SURBL_MALWARE", "URIBL_SURBL_CRACKED"}


def test_a_mail_address_is_found_by_its_digest(configuration: Path) -> None:
    assert found(check(configuration, "x", header="Reply-To: Drop+9@Box-Mail.com\n")) == {"URIBL_HBL"}
    assert found(check(configuration, "write to drop@box-mail.com today")) == {"URIBL_HBL"}


def test_an_innocent_mail_is_not_found_and_a_refusing_answer_lists_nobody(configuration: Path) -> None:
    assert found(check(configuration, "http://www.example.com/ and c@example.net")) == set()
    told = check(configuration, "http://over.com/")
    assert found(told) == set()
    assert "uribl:DBL" in json.dumps(told["missing"])
