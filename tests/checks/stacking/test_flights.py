"""Names under way: counted until they are answered, whatever becomes of their sessions."""

from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.checks.stacking.flights import AT_ONCE, Flights


def test_names_are_counted_by_key_until_their_session_has_its_answers():
    flights = Flights()
    flights.depart("a", ["ip:1", "domain:x"])
    flights.depart("a", ["ip:1", "domain:x"])
    flights.depart("b", ["ip:2", "domain:x"])
    assert [flights.count(key) for key in ("ip:1", "ip:2", "domain:x", "ip:3")] == [2, 1, 3, 0]
    flights.land("a")
    assert [flights.count(key) for key in ("ip:1", "ip:2", "domain:x")] == [0, 1, 1]
    flights.land("a")
    assert flights.count("domain:x") == 1


def test_one_session_has_no_more_under_way_than_servers_ask_at_once():
    flights = Flights()
    for _ in range(1000):
        flights.depart("a", ["ip:1"])
    assert flights.count("ip:1") == AT_ONCE


def test_sessions_that_never_land_are_forgotten():
    flights = Flights(most=10)
    for n in range(1000):
        flights.depart(f"s{n}", [f"ip:{n}", "domain:x"])
    assert len(flights) == 10
    assert flights.count("domain:x") == 10
    assert flights.count("ip:0") == 0


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from(["k", "l"]))))
def test_nothing_is_left_when_all_have_landed(events):
    flights = Flights(most=2)
    for departs, session, key in events:
        if departs:
            flights.depart(session, [key])
        else:
            flights.land(session)
    for session in "abc":
        flights.land(session)
    assert len(flights) == flights.count("k") == flights.count("l") == 0
    assert not flights._counts
