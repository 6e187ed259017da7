import json

import pytest

from gatekeeper.config import ConfigurationError, read
from gatekeeper.dns.dead_lists import DEAD, death_of
from gatekeeper.dns.lists import DnsList
from tests.support.corpora import corpora


@pytest.mark.parametrize("zone", ["dnsbl.sorbs.net", "web.dnsbl.sorbs.net", "DNSBL.SORBS.NET.", "ix.dnsbl.manitu.net"])
def test_a_dead_list_is_known_with_all_under_it(zone):
    assert death_of(zone) is not None


@pytest.mark.parametrize("zone", ["zen.spamhaus.org", "notsorbs.net", "net", "manitu.net", "spamrbl.imp.ch"])
def test_others_are_not(zone):
    assert death_of(zone) is None


def test_a_dead_list_is_refused_with_the_reason_and_the_date():
    with pytest.raises(ValueError, match=r"ix\.dnsbl\.manitu\.net was emptied \(since 2025-01-17\)\. Remove it"):
        DnsList("ix.dnsbl.manitu.net", "NIX", 3.0)
    with pytest.raises(ValueError, match=r"ask zen\.spamhaus\.org instead"):
        DnsList("cbl.abuseat.org", "CBL", 3.0)


def test_the_configuration_names_the_line():
    text = '[[checks.dnsbl.lists]]\nname = "SORBS"\nscore = 1.0\nzone = "dnsbl.sorbs.net"\n'
    with pytest.raises(ConfigurationError) as wrong:
        read(text, "f.toml")
    assert str(wrong.value).startswith(
        "f.toml:4: checks.dnsbl.lists.zone: dnsbl.sorbs.net was emptied (since 2024-06-05)"
    )


def test_every_death_that_is_published_is_known():
    cases = json.loads((corpora("dnsbl") / "dnsbl_dead.json").read_text())["cases"]
    assert [case["zone"] for case in cases if death_of(case["zone"].removeprefix("*.")) is None] == []


def test_every_death_has_its_date():
    assert [zone for zone, death in DEAD.items() if not death.since[:4].isdigit()] == []
