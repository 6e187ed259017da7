"""What the URL of a Redis store says, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.store.redis_place import Place


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://127.0.0.1", Place("redis", (("127.0.0.1", 6379),))),
        ("redis://h:7000/3", Place("redis", (("h", 7000),), 3)),
        ("rediss://us%20er@h", Place("rediss", (("h", 6379),), user="us er")),
        ("redis://[::1]:7000/0", Place("redis", (("::1", 7000),))),
        ("redis+cluster://a,b:7001", Place("redis+cluster", (("a", 6379), ("b", 7001)))),
        ("redis+sentinel://a,b:7001/m/2", Place("redis+sentinel", (("a", 26379), ("b", 7001)), 2, "m")),
        ("redis+sentinel://a/m", Place("redis+sentinel", (("a", 26379),), 0, "m")),
    ],
)
def test_these_are_understood(url, place):
    assert Place.read(url) == place


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://", "names no host"),
        ("redis:127.0.0.1", "names no host"),
        ("redis://a,b", "several hosts"),
        ("redis://a:99999", "is no host"),
        ("redis://a:x", "is no host"),
        ("redis://[::1", "is no host"),
        ("redis://h/x", "no number of a database"),
        ("redis://h/12345", "no number of a database"),
        ("redis+cluster://a/1", "only database 0"),
        ("redis+sentinel://a", "name of the service is missing"),
        ("redis://user:secret@h", "password does not stand here"),
    ],
)
def test_these_are_refused_with_the_mend(url, said):
    with pytest.raises(ValueError, match=said) as refused:
        Place.read(url)
    assert "secret" not in str(refused.value)


@given(st.sampled_from(["redis", "rediss", "redis+cluster", "redis+sentinel"]), st.text(max_size=30))
def test_nothing_but_a_value_error_ever_comes(scheme, rest):
    try:
        place = Place.read(f"{scheme}://{rest}")
    except ValueError:
        return
    assert place.hosts
    assert all(host and 0 < port < 65536 for host, port in place.hosts)
