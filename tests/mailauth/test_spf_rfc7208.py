"""The test suites of RFC 7208 and RFC 4408 (openspf, as pyspf carries them) and pyspf's own: every case of each."""

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

pytestmark = pytest.mark.slow  # a suite of others, whole

SUITES = {"rfc7208-tests.yml": 203, "rfc4408-tests.yml": 191, "test.yml": 16}
# pyspf's lenient and harsh modes, which take "default=" for a modifier; it is an unknown one (RFC 7208 §6).
OTHERWISE = {"default-modifier": "neutral", "default-modifier-harsh": "neutral"}


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

    async def ask(self, name: str, rtype: str, *, hops: int = 8) -> Answer:
        if name not in self.hosts:
            return Answer(Status.TIMEOUT if name.startswith("error.") else Status.NXDOMAIN)
        records, silent = self.hosts[name]
        found: list[Any] = []
        for kind, value in records:
            if kind == "CNAME" and rtype != "CNAME":
                if not hops:
                    return Answer(Status.REFUSED)  # SERVFAIL is what resolvers say to a loop
                return await self.ask(value.lower().rstrip("."), rtype, hops=hops - 1)
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
def documents(suite: str) -> list[dict[str, Any]]:
    return list(yaml.load_all((corpora("spf") / "sdgathman__pyspf" / suite).read_bytes(), yaml.CSafeLoader))


def cases() -> Iterator[Any]:
    try:
        found = [(suite, document) for suite in SUITES for document in documents(suite)]
    except pytest.skip.Exception as absent:
        yield pytest.param({}, {}, "", marks=pytest.mark.skip(reason=str(absent)), id="suite")
        return
    for suite, document in found:
        for name, case in document["tests"].items():
            yield pytest.param(document["zonedata"], case, OTHERWISE.get(name, ""), id=f"{suite[:-4]}-{name}")


@pytest.mark.parametrize(("zone", "case", "otherwise"), list(cases()))
async def test_a_case_of_the_suites(zone: dict[str, list[Any]], case: dict[str, Any], otherwise: str) -> None:
    local, _, domain = case["mailfrom"].rpartition("@")
    claim = mail_from(ip_address(case["host"]), Address(local, domain), case["helo"])
    result = await check_host(SuiteZone(zone), claim)
    expected = otherwise or case["result"]
    assert result.code.value in ([expected] if isinstance(expected, str) else expected), result
    explanation = case.get("explanation")
    if explanation and result.code is SpfCode.FAIL:
        assert result.explanation == ("" if explanation == "DEFAULT" else explanation)


@pytest.mark.parametrize(("suite", "count"), list(SUITES.items()))
def test_none_is_left_out(suite: str, count: int) -> None:
    assert sum(len(document["tests"]) for document in documents(suite)) == count
