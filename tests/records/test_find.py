"""Finding records."""

import pytest

from gatekeeper.records.document import UnreadableDocument
from gatekeeper.records.find import find, find_one, normal
from gatekeeper.records.record import stored
from gatekeeper.store.base import RecordQuery
from gatekeeper.store.memory import MemoryStore
from tests.records.test_writer import record
from tests.support.records import stored_record

ID = "1K0011AABBCCDD"


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.put_records([stored(record(ID)), stored(record("0LDER", time=1.0, sender=""))])
    return store


@pytest.mark.parametrize(
    "query",
    [
        RecordQuery(id=ID),
        RecordQuery(id=" 1ko0-11aa bbcc-dd "),
        RecordQuery(sender="<Ann@Example.org>"),
        RecordQuery(sender="@example.org"),
        RecordQuery(address="[192.0.2.7]", since=2.0),
        RecordQuery(action=" Reject", since=2.0),
    ],
    ids=str,
)
async def test_a_query_may_be_written_as_people_write_it(store: MemoryStore, query: RecordQuery):
    assert [one.id for one in await find(store, query)] == [ID]


async def test_the_null_sender_can_be_asked_for(store: MemoryStore):
    assert [one.id for one in await find(store, RecordQuery(sender="<>"))] == ["0LDER"]


async def test_the_newest_come_first(store: MemoryStore):
    assert [one.id for one in await find(store, RecordQuery())] == [ID, "0LDER"]


async def test_an_address_that_is_none_is_said_to_be(store: MemoryStore):
    with pytest.raises(ValueError, match="neither an IP address"):
        await find(store, RecordQuery(address="example"))


async def test_what_cannot_be_read_is_left_out_and_logged(store: MemoryStore, caplog):
    await store.put_records([stored_record("NEWER", document='{"format": 99}')])
    assert len(await find(store, RecordQuery())) == 2
    assert [line.msg for line in caplog.records] == ["record_unreadable"]


async def test_one_is_found_by_its_id(store: MemoryStore):
    found = await find_one(store, ID.lower())
    assert found == record(ID)
    assert await find_one(store, "N0PE") is None


async def test_no_id_finds_nothing(store: MemoryStore):
    assert await find_one(store, " - ") is None


async def test_one_that_cannot_be_read_says_why(store: MemoryStore):
    await store.put_records([stored_record("NEWER", document='{"format": 99}')])
    with pytest.raises(UnreadableDocument, match="format 99"):
        await find_one(store, "newer")


def test_normal_leaves_what_is_empty_empty():
    assert normal(RecordQuery()) == RecordQuery()
