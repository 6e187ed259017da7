"""Which mail is whose."""

from gatekeeper.servers.overload import Overload, Settings
from gatekeeper.servers.policy_client import Asked, PolicyClient
from gatekeeper.servers.policy_table import PolicyTable
from gatekeeper.wire.policy_request import PolicyRequest
from tests.support.fake_gate import FakeGate

NO_LOAD = Overload(Settings())


class Client(PolicyClient):
    """One whose mail is what the test says."""

    instance = ""

    def __init__(self, instance: str) -> None:
        super().__init__(FakeGate(), PolicyRequest(None), asked=Asked(), prepend="never", overload=NO_LOAD)
        self.instance = instance


def test_a_client_is_found_by_the_mail_it_has_in_hand():
    table, client = PolicyTable(10), Client("a.1")
    table.note(client)
    assert table.find("a.1") is client
    client.instance = "a.2"
    table.note(client)
    assert (table.find("a.1"), table.find("a.2")) == (None, client)
    client.instance = ""
    table.note(client)
    assert (table.find("a.2"), table.find(""), len(table)) == (None, None, 0)


def test_of_two_that_claim_a_mail_the_later_one_has_it():
    table, one, other = PolicyTable(10), Client("a"), Client("a")
    table.note(one)
    table.note(other)
    table.forget(one)
    table.forget(one)
    assert table.find("a") is other


def test_those_without_a_connection_are_due_one_after_another():
    table, first, second = PolicyTable(10), Client("a"), Client("b")
    for until, client in ((5.0, first), (6.0, second)):
        table.note(client)
        assert table.set_adrift(client, until) == []
    assert table.due == 5.0
    assert table.overdue(4.9) == []
    assert table.overdue(5.0) == [first]
    assert table.find("a") is None
    table.take_up(second)
    assert table.due is None
    assert table.overdue(100.0) == []
    assert table.find("b") is second


def test_the_oldest_makes_room():
    table = PolicyTable(1)
    first, second = Client("a"), Client("b")
    table.note(first)
    table.set_adrift(first, 5.0)
    assert table.set_adrift(second, 6.0) == [first]
    assert table.find("a") is None
