"""The message of our own: it comes out whatever DNS and store do, and shows when the pipeline is stuck."""

import asyncio

import pytest

from gatekeeper import app, metrics
from gatekeeper.config import configuration as config
from gatekeeper.servers import canary
from gatekeeper.servers.canary import Canary, NothingKnown
from tests.support.fake_gate import FakeGate


def real(tmp_path, text: str = "") -> Canary:
    file = tmp_path / "gatekeeper.toml"
    file.write_text(f'hostname = "mx.example.org"\n[store]\nurl = "sqlite:/nowhere/state.db"\n{text}')
    configuration = config.load(str(file))
    policy = app.policy_of(configuration)
    return app._canary(configuration, policy)


async def test_it_comes_out_without_dns_and_without_the_store(tmp_path):
    assert await real(tmp_path).sing()


async def test_it_comes_out_whatever_the_policy_makes_of_it(tmp_path):
    assert await real(tmp_path, "[policy]\ntag = -50.0\nreject = -50.0\n").sing()


async def test_it_shows_in_no_metric(tmp_path):
    singer = real(tmp_path)
    before = metrics.REGISTRY.get_sample_value("gatekeeper_findings_total", {"rule": "DKIM_NONE"})
    await singer.sing()
    assert metrics.REGISTRY.get_sample_value("gatekeeper_findings_total", {"rule": "DKIM_NONE"}) == before


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
