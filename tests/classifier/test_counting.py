"""What was learned is counted where it is shown."""

import asyncio

import pytest

from gatekeeper import metrics
from gatekeeper.classifier.counting import count, keep_counting
from gatekeeper.classifier.learning import Lessons, Material, Settings, Source, Teacher
from tests.support.fake_store import FakeStore
from tests.support.records import NOW


def shown(metric, *labels: str) -> float:
    return float(metric.labels(*labels)._value.get())


async def test_lessons_of_all_kinds_and_every_outcome_are_shown():
    store = FakeStore()
    made = Lessons(store, Settings(per_user_day=1), lambda: NOW)
    await made.learn(Material("1", (1,)), spam=True, teacher=Teacher("ann", Source.MAIL))
    await made.learn(Material("2", (1,)), spam=True, teacher=Teacher("ann", Source.MAIL))
    await made.learn(Material("3", (1,)), spam=False, teacher=Teacher("root", Source.COMMAND, "example.org"))
    await count(store, now=NOW)
    assert (shown(metrics.LESSONS, "spam"), shown(metrics.LESSONS, "ham")) == (1, 1)
    assert shown(metrics.LEARNING, "spam", "mail", "learned") == 1
    assert shown(metrics.LEARNING, "spam", "mail", "limited") == 1


async def test_while_the_store_is_away_it_goes_on():
    store = FakeStore()
    store.away = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await keep_counting(store, lambda: NOW)
    assert store.asked
