"""The catalogue of lists: every file loads, says what must be said, and nothing in it can be mistaken."""

import json
import re
from pathlib import Path

import pytest

from gatekeeper.config import Configuration, defaults, read
from gatekeeper.dns.lists import judge
from tests.support.corpora import corpora

CATALOGUE = Path(__file__).parents[2] / "config" / "lists"
FILES = sorted(CATALOGUE.glob("*.toml"))


def lists_of(found: Configuration):
    return [each for name in ("dnsbl", "uribl") for each in getattr(found.check(name), "lists", ())]


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def file(request):
    return request.param


def test_each_file_loads_and_says_what_it_lists_on_what_terms_and_where_to_read_more(file):
    text = file.read_text()
    assert lists_of(read(text, file.name))
    head = text.partition("\n\n")[0]
    for key in ("lists", "terms", "account", "link"):
        assert re.search(rf"^# {key}: +\S", head, re.MULTILINE), key
    assert re.search(r"^# link: +https://\S+$", head, re.MULTILINE)


def test_a_key_that_is_needed_is_a_place_to_fill_in(file):
    text = file.read_text()
    assert ("your-key." in text) == bool(re.search(r"^# account: free key$", text, re.MULTILINE))


def test_no_list_refuses_mail_alone_and_no_welcome_undoes_everything(file):
    found = read(file.read_text(), file.name)
    scores = [score for each in lists_of(found) for score in each.scores.values()]
    assert max(scores) < found.policy.reject
    assert min(scores) > -found.policy.tag


def test_all_of_them_can_be_used_together():
    together = "\n".join(path.read_text() for path in FILES if path.stem != "spamhaus-dqs")
    assert len(lists_of(read(together, "all.toml"))) > 15


def test_none_is_on_by_default():
    assert lists_of(defaults()) == []


def test_the_page_names_every_file_and_no_other():
    named = set(re.findall(r"^\| `([a-z-]+)\.toml`", (CATALOGUE / "README.md").read_text(), re.MULTILINE))
    assert named == {path.stem for path in FILES}


@pytest.mark.slow
def test_codes_by_which_lists_refuse_never_count_as_listed():
    cases = json.loads((corpora("dnsbl") / "dnsbl_error_codes.json").read_text())["cases"]
    codes = [case["code"] for case in cases if re.fullmatch(r"[0-9.]+", case["code"])]
    assert len(codes) >= 7
    for path in FILES:
        for each in lists_of(read(path.read_text(), path.name)):
            for code in codes:
                said = judge([code], each.meaning)
                assert said.refused, (each.zone, code)
                assert not said.listed, (each.zone, code)
