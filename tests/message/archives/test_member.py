from gatekeeper.message.archives.member import Budget, LeftOut, Limits, octets_of


def test_a_budget_ends_and_says_so():
    budget = Budget(Limits(members=2, unpacked=100))
    assert [budget.member() for _ in range(3)] == [True, True, False]
    assert budget.room(60) == 60
    budget.made(60)
    assert budget.room(60) == 40
    assert set(budget.left_out) == {LeftOut.MEMBERS, LeftOut.UNPACKED}


def test_time_is_told_by_whoever_has_a_clock():
    budget = Budget(late=lambda: True)
    assert budget.over()
    assert budget.left_out == {LeftOut.TIME: None}
    assert [budget.member() for _ in range(64)][-1] is False


def test_records_that_make_no_member_are_counted_and_time_is_looked_at_now_and_then():
    budget = Budget(Limits(steps=3))
    assert [budget.step() for _ in range(4)] == [True, True, True, False]
    assert set(budget.left_out) == {LeftOut.MEMBERS}
    assert not Budget(Limits(steps=3)).step(4)
    budget = Budget(late=lambda: True)
    assert [budget.step() for _ in range(256)] == [True] * 255 + [False]
    assert budget.left_out == {LeftOut.TIME: None}


def test_octets_are_not_copied_without_need():
    whole = b"abc"
    assert octets_of(memoryview(whole)) is whole
    assert octets_of(memoryview(whole)[1:]) == b"bc"
