"""Which loops async tests run on, and how long property tests look for examples.

LOOPS=asyncio or uvloop runs async tests on that loop alone; otherwise they run on both, where uvloop is installed.
HYPOTHESIS_PROFILE is quick (`make check`), full (`make test`, and the default) or thorough.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

import pytest
from hypothesis import settings

try:
    import uvloop
except ImportError:  # an optional dependency
    uvloop = None  # type: ignore[assignment]  # a missing module is None

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

# The same examples each time: a change is not refused for what was there before it. `thorough` looks for new ones.
settings.register_profile("quick", max_examples=20, deadline=None, derandomize=True)
settings.register_profile("full", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "full"))


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.SelectorEventLoop}
    if uvloop is not None:
        factories["uvloop"] = uvloop.new_event_loop
    wanted = os.environ.get("LOOPS", "both")
    return {name: factory for name, factory in factories.items() if wanted in (name, "both")}
