"""The test suite of RFC 7208 (openspf, as pyspf carries it): every case of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address
from typing import Any

import pytest
import yaml

from gatekeeper.dns.resolver import Answer, Status
from gatekeeper.mailauth.spf import SpfCode, check_host, mail_from
from gatekeeper.model import Address
from tests.support.corpora import corpora

SUITE = "sdgathman__pyspf/rfc7208-tests.yml"


class SuiteZone:
    """A zone as the suite writes it: TIMEOUT for what gets no answer, SPF for a TXT record unless TXT is given."""

    def __init__(self, data: dict[str, list[Any]]) -> None:
        self.hosts: dict[str, tuple[list[tuple[str, Any]], bool]] = {}
        for name, entries in data.items():
            records: list[tuple[str, Any]] = []
            typed = [pair for entry in entries if entry != "TIMEOUT" for pair in entry.items()]
            explicit = any(rtype == "TXT" for rtype, _ in typed)
            for rtype, value in typed:
                if rtype == "SPF" and not explicit:
                    records.append(("TXT", value))
                if value != "NONE":
                    records.append((rtype, value))
            self.hosts[name.lower()] = (records, "TIMEOUT" in entries)

    def cached(self, name: str, rtype: str) -> Answer | None:
        return None

    async def ask(self, name: str, rtype: str) -> Answer:
        if name not in self.hosts:
            return Answer(Status.TIMEOUT if name.startswith("error.") else Status.NXDOMAIN)
        records, silent = self.hosts[name]
        found: list[Any] = []
        for kind, value in records:
            if kind == "CNAME" and rtype != "CNAME":
                return await self.ask(value.lower(), rtype)
            if kind != rtype:
                continue
            if value == "TIMEOUT":
                return Answer(Status.TIMEOUT)
            if rtype == "TXT":
                found.append("".join([value] if isinstance(value, str) else value).encode())
            elif rtype == "MX":
                found.append(tuple(value))
            else:
                found.append(value)
        if not found:
            return Answer(Status.TIMEOUT if silent else Status.NODATA)
        return Answer(Status.OK, tuple(found))


@cache
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((corpora("spf") / SUITE).read_bytes()))


def cases() -> Iterator[Any]:
    try:
        found = documents()
    except pytest.skip.Exception as absent:
        yield pytest.param({}, {}, marks=pytest.mark.skip(reason=str(absent)), id="suite")
        return
    for document in found:
        for name, case in document["tests"].items():
            yield pytest.param(document["zonedata"], case, id=name)


@pytest.mark.parametrize(("zone", "case"), list(cases()))
async def test_the_suite_of_rfc_7208(zone: dict[str, list[Any]], case: dict[str, Any]) -> None:
    local, _, domain = case["mailfrom"].rpartition("@")
    claim = mail_from(ip_address(case["host"]), Address(local, domain), case["helo"])
    result = await check_host(SuiteZone(zone), claim)
    expected = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert result.code.value in expected, result
    explanation = case.get("explanation")
    if explanation and result.code is SpfCode.FAIL:
        assert result.explanation == ("" if explanation == "DEFAULT" else explanation)


def test_none_of_the_203_is_left_out() -> None:
    assert sum(len(document["tests"]) for document in documents()) == 203
