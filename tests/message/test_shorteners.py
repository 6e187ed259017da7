from gatekeeper.message.shorteners import SHORTENERS
from gatekeeper.wire.address import normal_domain


def test_each_is_a_name_that_can_be_asked_for():
    assert [name for name in SHORTENERS if normal_domain(name) != name] == []
    assert "bit.ly" in SHORTENERS
