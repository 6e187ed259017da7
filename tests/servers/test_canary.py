"""The message of our own: it comes out whatever DNS and store do, and shows when the pipeline is stuck."""

import asyncio
import time
from typing import Any

import pytest

from gatekeeper import app, metrics
from gatekeeper.checks.base import Tools
from gatekeeper.classifier.learning import SITE
from gatekeeper.config import configuration as config
from gatekeeper.scanning.clamd import Clamd
from gatekeeper.servers import canary
from gatekeeper.servers.canary import Canary, NothingKnown
from gatekeeper.store.base import Lesson, Note
from gatekeeper.store.memory import MemoryStore
from tests.support.fake_gate import FakeGate


def configured(tmp_path, text: str = "") -> config.Configuration:
    file = tmp_path / "gatekeeper.toml"
    file.write_text(f'hostname = "mx.example.org"\n[store]\nurl = "sqlite:/nowhere/state.db"\n{text}')
    return config.load(str(file))


def real(tmp_path, text: str = "") -> Canary:
    configuration = configured(tmp_path, text)
    return app._canary(configuration, app.policy_of(configuration))


async def test_it_comes_out_without_dns_and_without_the_store(tmp_path):
    assert await real(tmp_path).sing()


async def test_it_comes_out_whatever_the_policy_makes_of_it(tmp_path):
    assert await real(tmp_path, "[policy]\ntag = -50.0\nreject = -50.0\n").sing()


async def test_it_shows_in_no_metric(tmp_path):
    singer = real(tmp_path)
    before = metrics.REGISTRY.get_sample_value("gatekeeper_findings_total", {"rule": "DKIM_NONE"})
    await singer.sing()
    assert metrics.REGISTRY.get_sample_value("gatekeeper_findings_total", {"rule": "DKIM_NONE"}) == before


async def test_what_it_learns_of_its_own_store_is_not_told_to_the_checks_of_the_mail(tmp_path):
    configuration = configured(tmp_path)
    checks: dict[str, Any] = {check.name: check for check in configuration.checks}
    assert await app._canary(configuration, app.policy_of(configuration)).sing()
    store, now = MemoryStore(), time.time()
    await store.put_notes([Note("fuzzy.sample", "one", "{}", now + 60)])
    await store.learn(SITE, "one", old=None, new=Lesson(SITE, "one", True, (1, 2), "{}", now + 60))
    assert await checks["fuzzy"]._anything(Tools(NothingKnown(), store, lambda: now, "mx.example.org", frozenset()))
    assert await checks["classifier"]._knowledge._kinds(store, now) == {SITE}


async def test_a_scanner_that_says_nothing_does_not_keep_it(tmp_path, monkeypatch: pytest.MonkeyPatch):
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Clamd, "scan", never)
    monkeypatch.setattr(canary, "WITHIN", 2.0)
    assert await real(tmp_path, '[checks.clamav]\nclamd = "127.0.0.1:1"\n').sing()


async def test_a_pipeline_that_is_stuck_is_noticed(monkeypatch: pytest.MonkeyPatch):
    class Stuck(FakeGate):
        async def judge(self, stage, mail):
            await asyncio.Event().wait()

    monkeypatch.setattr(canary, "WITHIN", 0.01)
    assert not await Canary(Stuck(), "mx.example.org", lambda: 0.0).sing()


async def test_nothing_is_known_to_its_resolver():
    resolver = NothingKnown()
    assert await resolver.ask("example.org", "A") == resolver.cached("example.org", "A")
    assert (await resolver.ask("example.org", "A")).certain
