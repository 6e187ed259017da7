"""The scripts hold their numbers; what they do is tested on a real server (tests/peers/test_redis.py)."""

from gatekeeper.store import redis_scripts
from gatekeeper.store.base import DISTINCT_MOST, UNLEAKING_KEPT


def test_the_numbers_of_the_store_are_in_them():
    assert str(DISTINCT_MOST) in redis_scripts.DISTINCT
    assert str(int(UNLEAKING_KEPT)) in redis_scripts.SPEND
    for name, script in vars(redis_scripts).items():
        if isinstance(script, str) and name.isupper() and not name.startswith("_"):
            assert "MOST" not in script
            assert "UNLEAKING" not in script
