"""A record as JSON, and back."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatekeeper.model import Contribution, Kind, Missing, Reply, Thresholds, Tls
from gatekeeper.records.document import (
    FORMAT,
    ClientFacts,
    Decision,
    Record,
    RecordedFinding,
    RecordedRecipient,
    UnreadableDocument,
    from_document,
    points,
    to_document,
)

TEXT = st.text(st.characters(), max_size=20)  # lone surrogates too
MAYBE = st.none() | TEXT
WHOLE = st.integers(-(2**62), 2**62)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
REPLIES = st.builds(Reply, st.integers(200, 599), st.lists(TEXT, max_size=3).map(tuple))
MISSING = st.lists(st.builds(Missing, TEXT, st.lists(TEXT, max_size=2).map(tuple), TEXT), max_size=2).map(tuple)
FINDINGS = st.lists(
    st.builds(RecordedFinding, TEXT, TEXT, st.none() | st.dictionaries(TEXT, JSON, max_size=3)), max_size=3
).map(tuple)
DECISIONS = st.builds(
    Decision,
    action=TEXT,
    millis=WHOLE,
    thresholds=st.builds(Thresholds, WHOLE, WHOLE, st.frozensets(st.sampled_from(Kind))),
    contributions=st.lists(st.builds(Contribution, TEXT, WHOLE), max_size=3).map(tuple),
    missing=st.lists(TEXT, max_size=2).map(tuple),
    not_run=st.lists(TEXT, max_size=2).map(tuple),
    incomplete=st.booleans(),
    decided_by=MAYBE,
    held=MAYBE,
)
CLIENTS = st.builds(
    ClientFacts,
    address=MAYBE,
    port=st.none() | st.integers(0, 65535),
    name=MAYBE,
    helo=MAYBE,
    extended=st.none() | st.booleans(),
    tls=st.none() | st.builds(Tls, TEXT, TEXT, st.integers(0, 512)),
    login=MAYBE,
    counters=st.dictionaries(TEXT, st.integers(0, 1000), max_size=3),
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    decision = draw(st.none() | DECISIONS)
    recipient = st.builds(
        RecordedRecipient,
        address=TEXT,
        reply=st.none() | REPLIES,
        by_next_hop=st.booleans(),
        decision=st.sampled_from([decision, None]) | DECISIONS,
        findings=FINDINGS,
        missing=MISSING,
    )
    made: Record = draw(
        st.builds(
            Record,
            id=TEXT,
            time=st.floats(0, 4e9),
            duration=st.floats(0, 1e6),
            server=TEXT,
            session=TEXT,
            client=CLIENTS,
            action=TEXT,
            reply=REPLIES,
            sender=MAYBE,
            recipients=st.lists(recipient, max_size=3).map(tuple),
            more_recipients=st.lists(TEXT, max_size=2).map(tuple),
            unlisted=st.integers(0, 100),
            size=st.none() | st.integers(0, 2**40),
            message_id=TEXT,
            decision=st.just(decision),
            findings=FINDINGS,
            missing=MISSING,
            next_hop=st.none() | REPLIES,
            queue_id=TEXT,
            note=TEXT,
            folded=st.integers(0, 100),
        )
    )
    return made


@pytest.mark.slow
@settings(max_examples=200)
@given(records())
def test_a_record_comes_back_exactly(record):
    document = to_document(record)
    assert document.isascii()
    assert from_document(document) == record
    assert to_document(from_document(document)) == document


@given(records())
def test_scores_are_whole_thousandths(record):
    document = json.loads(to_document(record))
    if record.decision is not None:
        assert document["decision"]["millis"] == record.decision.millis
        assert all(isinstance(millis, int) for _, millis in document["decision"]["contributions"])


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '"text"',
        '{"format": 1}',
        '{"format": 2}',
        '{"format": 1, "client": {}, "reply": null}',
        '{"format": 1, "client": {"shoe_size": 44}, "reply": {"code": 250, "lines": []}}',
        '{"format": 1, "client": 3, "reply": {"code": 250, "lines": []}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_record_is_told(document):
    with pytest.raises(UnreadableDocument):
        from_document(document)


def test_another_format_is_named():
    with pytest.raises(UnreadableDocument, match=f"format {FORMAT + 1}; this gatekeeper reads {FORMAT}"):
        from_document(f'{{"format": {FORMAT + 1}}}')


@given(st.text() | JSON.map(json.dumps))
def test_no_text_breaks_the_reader(text):
    with pytest.raises(UnreadableDocument):
        from_document(text)


@pytest.mark.parametrize(
    ("millis", "text"),
    [
        (0, "0"),
        (4500, "4.5"),
        (4000, "4"),
        (-20, "-0.02"),
        (1, "0.001"),
        (-1, "-0.001"),
        (10_000, "10"),
        (100, "0.1"),
        (999, "0.999"),
        (-1000, "-1"),
        (-1500, "-1.5"),
    ],
)
def test_points_have_no_more_decimals_than_they_need(millis, text):
    assert points(millis) == text


@given(st.integers(-(10**9), 10**9))
def test_points_are_exact(millis):
    assert round(float(points(millis)) * 1000) == millis
    assert len(points(millis).partition(".")[2]) <= 3


def test_where_doubt_begins_is_kept():
    decision = Decision(action="greylist", millis=4000, thresholds=Thresholds(5000, 10_000, greylist=3000))
    record = Record(
        id="1",
        time=1.0,
        duration=0.0,
        server="smtp",
        session="s",
        client=ClientFacts(),
        action="greylist",
        reply=Reply.of(451, "4.7.1 later"),
        decision=decision,
    )
    assert from_document(to_document(record)) == record
