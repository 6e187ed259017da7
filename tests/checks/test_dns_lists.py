import pytest

from gatekeeper.checks.dns_lists import require_sound, rules_of
from gatekeeper.dns.lists import DnsList, ListCode
from gatekeeper.dns.name_lists import NameList
from gatekeeper.model import Group, Kind

PLAIN = DnsList("bl.test", "BL", 3.0)
CODED = DnsList("coded.test", "CODED", 2.0, {"127.0.0.2": ListCode("A", 5.0), "127.0.0.3": ListCode("B")}, group="kin")


def test_each_code_has_a_rule_and_the_group_of_its_list():
    rules = rules_of([PLAIN, CODED], {"kin": 6.0}, lambda each: f"Something of {each.name}")
    assert [(rule.name, rule.score, rule.group) for rule in rules] == [
        ("DNSBL_BL", 3.0, None),
        ("DNSBL_CODED_A", 5.0, Group("DNSBL_GROUP_KIN", 6.0)),
        ("DNSBL_CODED_B", 2.0, Group("DNSBL_GROUP_KIN", 6.0)),
    ]
    assert rules[1].about == "Something of CODED is on coded.test (A)."
    assert {rule.kind for rule in rules} == {Kind.LIST}


@pytest.mark.parametrize(
    ("lists", "groups", "mend"),
    [
        ([PLAIN, DnsList("BL.test.", "AGAIN", 1.0)], {}, "into one list"),
        ([PLAIN, DnsList("other.test", "BL", 1.0)], {}, "another name"),
        ([CODED], {}, 'the group "kin" of CODED has no cap'),
        ([CODED], {"kin": 0.0}, "above 0"),
        ([PLAIN], {"kin": 1.0}, "no list has the group"),
    ],
)
def test_what_does_not_go_together_is_refused(lists, groups, mend):
    with pytest.raises(ValueError, match=mend):
        require_sound(lists, groups)


def test_a_zone_may_have_names_and_digests():
    require_sound([NameList("l.test", "L", 1.0), NameList("l.test", "H", 1.0, hash="md5")], {})
