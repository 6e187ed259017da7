"""The registry of sections, and what holds between them."""

import dataclasses
import typing
from pathlib import Path

import pytest

from gatekeeper import pipeline
from gatekeeper.config import Configuration, ConfigurationError, defaults, load, read
from gatekeeper.config.configuration import OPTIONAL, SECTIONS, General, Servers
from gatekeeper.config.shape import keys


def _problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as wrong:
        read(text, "f.toml")
    return [str(problem) for problem in wrong.value.problems]


def test_an_empty_file_opens_no_server_and_runs_every_check():
    found = defaults()
    assert all(getattr(found.servers, field.name) is None for field in dataclasses.fields(Servers))
    assert tuple(type(check) for check in found.checks) == pipeline.CHECKS


def test_a_section_that_stands_there_opens_its_server_even_when_it_is_empty():
    assert read("[servers.http]", "f").servers.http is not None


@pytest.mark.parametrize("path", SECTIONS)
def test_every_section_is_found_in_the_configuration_under_its_own_path(path):
    held: typing.Any = Configuration
    for name in path.split("."):
        held = typing.get_type_hints(held)[name]
    assert SECTIONS[path] in (held, *typing.get_args(held))
    assert (type(None) in typing.get_args(held)) == (path in OPTIONAL)


@pytest.mark.parametrize("path", SECTIONS)
def test_every_setting_has_its_sentence(path):
    assert [key.name for key in keys(SECTIONS[path]).values() if not key.about] == []


@pytest.mark.parametrize("check", pipeline.CHECKS, ids=lambda check: check.name)
def test_every_setting_of_a_check_has_its_sentence_and_a_default(check):
    assert [key.name for key in keys(check).values() if not key.about or key.required] == []


def test_no_check_has_a_setting_that_the_loader_takes():
    assert [check.name for check in pipeline.CHECKS if "enabled" in keys(check)] == []


def test_no_two_checks_have_a_rule_of_the_same_name():
    names = [rule.name for check in pipeline.CHECKS for rule in check().rules()]
    assert len(names) == len(set(names))


def test_names_are_in_the_spelling_that_is_compared():
    found = read('hostname = "MX.Example.ORG"\nrelay_domains = ["Example.org", "bücher.example", "example.org."]', "f")
    assert found.hostname == "mx.example.org"
    assert found.relay_domains == ("example.org", "xn--bcher-kva.example")


def test_without_a_hostname_the_machine_is_asked(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Box")
    assert defaults().hostname == "box"
    monkeypatch.setattr("socket.gethostname", lambda: "not a name")
    assert defaults().hostname == "localhost"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('hostname = "mx example"', 'f.toml:1: hostname: "mx example" is not a domain name, such as "mx.example.org"'),
        ('relay_domains = ["a.example", "@b"]', 'f.toml:1: relay_domains: "@b" is not a domain name'),
        ('relay_domains = [""]', 'f.toml:1: relay_domains: "" is not a domain name'),
    ],
)
def test_what_is_no_domain_name_is_refused(text, said):
    assert _problems(text)[0].startswith(said)


def test_a_check_is_switched_off():
    found = read("[checks.helo]\nenabled = false", "f")
    assert found.check("helo") is None
    assert found.check("spf") is not None
    assert len(found.checks) == len(pipeline.CHECKS) - 1


def test_a_rule_is_given_a_score():
    assert read("[policy.scores]\nSPF_FAIL = 4", "f").policy.scores == {"SPF_FAIL": 4.0}


def test_a_rule_of_a_check_that_is_switched_off_may_keep_its_score():
    assert read("[checks.spf]\nenabled = false\n[policy.scores]\nSPF_FAIL = 4", "f").policy.scores


def test_a_rule_that_a_list_makes_may_be_given_a_score():
    text = '[[checks.dnsbl.lists]]\nzone = "zen.example"\nname = "ZEN"\nscore = 4.0\n[policy.scores]\nDNSBL_ZEN = 1.0'
    assert read(text, "f").policy.scores


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SPF_FIAL = 1.0", "f.toml:2: policy.scores.SPF_FIAL: no check has such a rule; did you mean 'SPF_FAIL'?"),
        ("spf_fail = 1.0", "f.toml:2: policy.scores.spf_fail: no check has such a rule; did you mean 'SPF_FAIL'?"),
        ("DNSBL_ZEN = 1.0", "f.toml:2: policy.scores.DNSBL_ZEN: no check has such a rule"),
        ("SPF_FAIL = 1.2345", "f.toml:2: policy.scores.SPF_FAIL: 1.2345 has more than three decimals: write 1.234"),
        ("SPF_FAIL = inf", "f.toml:2: policy.scores.SPF_FAIL: must be a finite number"),
        ("SPF_FAIL = true", "f.toml:2: policy.scores.SPF_FAIL: must be a number, without quotes, not true"),
    ],
)
def test_a_wrong_score_is_named_with_its_mend(text, said):
    assert _problems("[policy.scores]\n" + text) == [said]


def test_a_rule_of_a_list_that_is_wrong_is_not_called_unknown_as_well():
    text = '[[checks.dnsbl.lists]]\nzone = "zen.example"\nname = "ZEN"\nscore = "x"\n[policy.scores]\nDNSBL_ZEN = 1.0'
    assert len(_problems(text)) == 1


def test_a_score_of_a_list_has_three_decimals_at_most():
    text = '[[checks.dnsbl.lists]]\nzone = "zen.example"\nname = "ZEN"\nscore = 0.12345'
    assert "three decimals" in _problems(text)[0]


@pytest.mark.parametrize(
    ("section", "line"),
    [("web", 1)],
)
def test_what_comes_later_is_said_and_not_ignored(section, line):
    assert _problems(f"[{section}]") == [f"f.toml:{line}: {section}: is not available in this version: remove it"]


def test_a_list_of_names_has_the_form_of_one_of_addresses():
    assert "is required" in _problems('[[checks.uribl.lists]]\nzone = "dbl.example"')[0]
    found = read('[[checks.uribl.lists]]\nzone = "dbl.example"\nname = "DBL"\nscore = 5.0\nof = ["links"]', "f.toml")
    assert "URIBL_DBL" in {rule.name for check in found.checks for rule in check.rules()}
    assert (
        "must be one of"
        in _problems('[[checks.uribl.lists]]\nzone = "dbl.example"\nname = "DBL"\nscore = 5.0\nof = ["link"]')[0]
    )


def test_a_file_is_loaded(tmp_path):
    (tmp_path / "g.toml").write_bytes(b'\xef\xbb\xbfhostname = "mx.example"\r\n[policy]\r\ntag = 3.0\r\n')
    found = load(str(tmp_path / "g.toml"))
    assert (found.hostname, found.policy.tag) == ("mx.example", 3.0)


def test_a_copy_is_spoken_of_by_the_name_of_its_original(tmp_path):
    (tmp_path / "copy").write_text("x = 1")
    with pytest.raises(ConfigurationError, match=r"^/etc/g\.toml:1: x: unknown setting"):
        load(str(tmp_path / "copy"), named="/etc/g.toml")


def test_a_file_that_cannot_be_read_is_named_with_the_mend(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read: No such file or directory; name the file"):
        load(str(tmp_path / "none.toml"))
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load(str(tmp_path))


def test_a_file_that_is_not_utf_8_is_named_with_the_line(tmp_path):
    (tmp_path / "g.toml").write_bytes(b"# fine\n# gr\xfcn\n")
    with pytest.raises(ConfigurationError, match=r"g\.toml:2: not UTF-8 text"):
        load(str(tmp_path / "g.toml"))


def test_the_top_of_the_file_has_its_sentences():
    assert [key.name for key in keys(General).values() if not key.about] == []


def test_the_example_of_the_design_loads():
    text = (Path(__file__).parent / "public_face.toml").read_text()
    assert read(text, "face.toml").hostname == "mx.example.org"


RULE = """[OUR_OWN]
about = "Ours."
score = 0.5
seen = 'our own'
match = "\\nour own"
no_match = "\\nx"
"""


def _with_rules(tmp_path: Path, rules: str, more: str = "") -> str:
    (tmp_path / "own.toml").write_text(rules)
    file = tmp_path / "gatekeeper.toml"
    file.write_text(f"[checks.rules]\npaths = ['{tmp_path}/own.toml']\n{more}")
    return str(file)


@pytest.mark.parametrize(
    ("rules", "more", "place", "said"),
    [
        (RULE.replace("seen", "sorce = 'x'\nseen"), "", "own.toml:4: OUR_OWN.sorce: ", "did you mean 'source'?"),
        (RULE.replace("'our own'", "'x*'"), "", "own.toml:4: OUR_OWN.seen: ", "the engine cannot take this pattern"),
        (RULE.replace("'our own'", "'(?=x)'"), "", "own.toml:4: OUR_OWN.seen: ", "`not` in `when`"),
        (RULE + RULE, "", "own.toml:7: ", "give one another"),
        (RULE.replace("OUR_OWN", "GIFT_CARDS"), "", "own.toml:1: GIFT_CARDS: ", "has a rule of that name already"),
        (RULE.replace("OUR_OWN", "SPF_FAIL"), "", "gatekeeper.toml:2: checks.rules.paths: ", "give yours another name"),
        (RULE, "disabled = ['OUR_ONW']", "gatekeeper.toml:3: checks.rules.disabled: ", "did you mean 'OUR_OWN'?"),
    ],
)
def test_a_mistake_in_a_file_of_rules_is_named_with_its_line(tmp_path, rules, more, place, said):
    with pytest.raises(ConfigurationError) as wrong:
        load(_with_rules(tmp_path, rules, more))
    first = str(wrong.value.problems[0])
    assert f"{tmp_path}/{place}" in first
    assert said in first
    assert len(wrong.value.problems) == 1


def test_a_rule_of_the_sites_own_can_be_given_another_score_even_switched_off(tmp_path):
    found = load(_with_rules(tmp_path, RULE, "disabled = ['OUR_OWN']\n[policy.scores]\nOUR_OWN = 2.0"))
    assert found.policy.scores["OUR_OWN"] == 2.0
