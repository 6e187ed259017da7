"""What a promise is, and where its mend goes."""

from gatekeeper.doctor.facts import Mode
from gatekeeper.doctor.promise import Always, Mend, Never, Standing, broken, in_main, in_master, in_ours, listed
from tests.support.doctor import attachment, facts, postfix, service


def test_never_is_impossible_and_has_no_mend():
    judgement = Never("it cannot")(facts(), attachment(Mode.MILTER))
    assert (judgement.standing, judgement.mend) == (Standing.IMPOSSIBLE, None)
    assert Always("it does")(facts(), attachment(Mode.MILTER)).standing is Standing.HOLDS


def test_what_is_broken_has_a_mend():
    mend = Mend("/etc/postfix/main.cf", "disable_vrfy_command = yes")
    assert broken("it tells", mend).mend == mend


def test_a_mend_names_the_file_the_place_and_the_line():
    here = facts(behind=postfix())
    assert str(in_main(here, "a = b")) == "/etc/postfix/main.cf: a = b"
    assert str(in_master(here, service(), "-o a=b")) == "/etc/postfix/master.cf: smtp inet: -o a=b"
    assert str(in_ours(here, "nexthop", 'final = "50s"')) == 'gatekeeper.toml: [nexthop]: final = "50s"'
    assert str(in_main(facts(), "a = b")) == "/etc/postfix/main.cf: a = b"  # its usual place


def test_lists_are_written_as_toml_has_them():
    assert listed(["127.0.0.1/32", "unix"]) == '["127.0.0.1/32", "unix"]'
    assert listed("x") == '["x"]'
