"""Notes of who is told no names: until their end, from their beginning."""

import json

import pytest

from gatekeeper.checks.stacking.notes import ALIKE, remark
from gatekeeper.store.base import Note
from tests.checks.stacking.play import Place


async def test_one_that_is_written_anew_keeps_its_beginning():
    place = Place()
    began = place.now
    await remark(ALIKE, {"ip:192.0.2.1": began + 100}, place.tools)
    place.now += 50
    await remark(ALIKE, {"ip:192.0.2.1": began + 200, "ip:192.0.2.2": began + 200}, place.tools)
    old, new = await place.store.notes(ALIKE, now=place.now)
    assert (json.loads(old.text)["since"], old.until) == (began, began + 200)
    assert json.loads(new.text)["since"] == began + 50


async def test_one_that_has_ended_begins_anew():
    place = Place()
    await remark(ALIKE, {"ip:192.0.2.1": place.now + 100}, place.tools)
    place.now += 101
    await remark(ALIKE, {"ip:192.0.2.1": place.now + 100}, place.tools)
    [note] = await place.store.notes(ALIKE, now=place.now)
    assert json.loads(note.text)["since"] == place.now


async def test_nothing_to_note_asks_nothing():
    await remark(ALIKE, {}, Place().tools)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"since": "long ago"}', "[" * 20_000])
async def test_one_that_cannot_be_read_begins_anew(text: str):
    place = Place()
    await place.store.put_notes([Note(ALIKE, "ip:192.0.2.1", text, place.now + 100)])
    await remark(ALIKE, {"ip:192.0.2.1": place.now + 100}, place.tools)
    [note] = await place.store.notes(ALIKE, now=place.now)
    assert json.loads(note.text)["since"] == place.now
