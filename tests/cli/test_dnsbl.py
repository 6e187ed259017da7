"""`gatekeeper dnsbl`."""

from tests.support.command_line import gatekeeper as call


def test_its_commands_are_listed():
    ended = call("dnsbl", "--help")
    assert ended.status == 0
    assert "report" in ended.out
