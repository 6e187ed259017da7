from tests.support.command_line import gatekeeper


def test_its_commands_are_shown():
    shown = gatekeeper("dnsbl", "--help").out
    assert [name for name in ("test", "lookup", "report") if f"  {name} " not in shown] == []
