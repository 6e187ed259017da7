import json
from pathlib import Path

import pytest

from tests.support.command_line import gatekeeper
from tests.support.dns_server import DnsServer, Fault
from tests.support.served import served

ZONE = {("2.0.0.127.bl.test", "A"): ["127.0.0.2"], ("org", "NS"): ["ns.org."]}
KEYED = "u5t6abcd2efgh3ijkl4mnopqrs"


def configured(directory: Path, server: DnsServer, *zones: str) -> str:
    path = directory / "gatekeeper.toml"
    lists = (
        f'[[checks.dnsbl.lists]]\nzone = "{zone}"\nname = "L{n}"\nscore = 1.0\nipv6 = false\n'
        for n, zone in enumerate(zones)
    )
    path.write_text(
        f'hostname = "mx.example.org"\n[dns]\nnameservers = ["{server.address}"]\ntimeout = "100ms"\n{"".join(lists)}'
    )
    return str(path)


@pytest.mark.parametrize(
    ("fault", "outcome", "status"),
    [
        (None, "good", 0),
        (Fault.WILDCARD, "world", 1),
        (Fault.REFUSING, "refused", 1),
        (Fault.SILENCE, "silent", 1),
    ],
)
def test_a_list_is_tested_now(tmp_path, fault, outcome, status):
    with served(DnsServer(ZONE)) as server:
        if fault:
            server.under["bl.test"] = fault
        file = configured(tmp_path, server, "bl.test")
        ended = gatekeeper("dnsbl", "test", "-c", file)
        assert (ended.status, "nameservers: sound" in ended.out, outcome in ended.out) == (status, True, True)
        read = json.loads(gatekeeper("dnsbl", "test", "--json", "-c", file).out)
        assert (read["nameservers"]["faults"], read["lists"][0]["outcome"]) == ([], outcome)


def test_a_list_without_a_test_point_is_empty_and_well(tmp_path):
    with served(DnsServer(ZONE)) as server:
        ended = gatekeeper("dnsbl", "test", "-c", configured(tmp_path, server, "other.test"))
        assert (ended.status, "empty" in ended.out) == (0, True)


def test_one_list_can_be_named_by_its_zone_or_its_name(tmp_path):
    with served(DnsServer(ZONE)) as server:
        file = configured(tmp_path, server, "bl.test", "other.test")
        for named in ("BL.test.", "l0"):
            read = json.loads(gatekeeper("dnsbl", "test", named, "--json", "-c", file).out)
            assert [each["zone"] for each in read["lists"]] == ["bl.test"]
        assert gatekeeper("dnsbl", "test", "nowhere.test", "-c", file).status == 2


def test_nameservers_that_invent_answers_are_status_1(tmp_path):
    with served(DnsServer(ZONE)) as server:
        server.fault = Fault.HIJACKED
        ended = gatekeeper("dnsbl", "test", "-c", configured(tmp_path, server))
        assert (ended.status, "invents" in ended.out, "no lists" in ended.out) == (1, True, True)


def test_a_subscriber_s_key_is_not_shown(tmp_path):
    with served(DnsServer(ZONE)) as server:
        file = configured(tmp_path, server, f"{KEYED}.bl.test")
        for form in ((), ("--json",)):
            ended = gatekeeper("dnsbl", "test", "-c", file, *form)
            assert KEYED not in ended.out + ended.err
