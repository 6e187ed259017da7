"""`gatekeeper records`."""

import json

import pytest

from tests.support.command_line import ACCEPTED, REJECTED, configuration, with_records
from tests.support.command_line import gatekeeper as call


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return with_records(tmp_path_factory.mktemp("records"))


def _ids(out: str) -> list[str]:
    return [json.loads(line)["id"] for line in out.splitlines()]


def test_a_table_answers_who_to_whom_and_what(file):
    ended = call("records", "-c", file)
    assert ended.status == 0
    heading, newest, oldest = ended.out.splitlines()
    assert heading.split() == ["time", "id", "action", "score", "client", "sender", "recipients", "queue", "id"]
    assert newest.split()[2:] == [ACCEPTED, "accept", "0", "198.51.100.7", "<>", "ann@example.org", "4ABC"]
    assert " ".join(oldest.split()[2:]) == (
        f"{REJECTED} reject 10.5 192.0.2.1 spam@example.net "
        "user0@example.org, user1@example.org, user2@example.org and 2 more"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [ACCEPTED, REJECTED]),
        (["--id", REJECTED.lower()], [REJECTED]),
        (["--sender", "<spam@example.net>"], [REJECTED]),
        (["--sender", "@example.net"], [REJECTED]),
        (["--recipient", "ANN@example.org"], [ACCEPTED]),
        (["--recipient", "user4@example.org"], [REJECTED]),
        (["--address", "192.0.2.0/24"], [REJECTED]),
        (["--queue-id", "4ABC"], [ACCEPTED]),
        (["--action", "Reject"], [REJECTED]),
        (["--since", "2027-01-15T08:00:30+00:00"], [ACCEPTED]),
        (["--until", "2027-01-15T08:00:30+00:00"], [REJECTED]),
        (["--limit", "1"], [ACCEPTED]),
        (["--sender", "nobody@example.net"], []),
    ],
)
def test_records_are_found(file, arguments, expected):
    ended = call("records", "--json", "-c", file, *arguments)
    assert (ended.status, _ids(ended.out)) == (0, expected)


def test_nothing_found_is_said_and_is_no_mistake(file):
    ended = call("records", "-c", file, "--sender", "nobody@example.net")
    assert (ended.status, ended.out, ended.err) == (0, "", "no record\n")


@pytest.mark.parametrize(
    "arguments",
    [["--action", "vanish"], ["--since", "yesterday"], ["--limit", "0"], ["--address", "not an address"]],
)
def test_a_question_that_makes_no_sense_is_status_2(file, arguments):
    ended = call("records", "-c", file, *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err


def test_a_store_that_was_never_opened_is_not_made_by_looking(tmp_path):
    ended = call("records", "-c", configuration(tmp_path))
    assert ended.status == 2
    assert "state.db is not there: gatekeeper has not run" in ended.err
    assert not (tmp_path / "state.db").exists()


def test_a_damaged_store_is_one_sentence(tmp_path):
    (tmp_path / "state.db").write_bytes(b"not a database" * 1000)
    ended = call("records", "-c", configuration(tmp_path))
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "state.db" in ended.err


def test_memory_cannot_be_looked_into(tmp_path):
    (tmp_path / "g.toml").write_text('[store]\nurl = "memory:"')
    assert 'url is "memory:"' in call("records", "-c", str(tmp_path / "g.toml")).err
