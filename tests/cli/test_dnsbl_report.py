"""`gatekeeper dnsbl report`."""

import asyncio
import json
from pathlib import Path

import pytest

from gatekeeper.records.record import stored
from gatekeeper.store.opening import Settings, open_store
from tests.records.test_usefulness import record
from tests.support.command_line import configuration
from tests.support.command_line import gatekeeper as call

LISTS = """
[[checks.dnsbl.lists]]
zone = "bad.test"
name = "BAD"
score = 6.0
[[checks.uribl.lists]]
zone = "uri.test"
name = "URI"
codes = { "127.0.1.2" = {name = "SPAM", score = 5.0} }
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    path = configuration(directory, LISTS)
    records = [
        record("1", "DNSBL_BAD", DNSBL_BAD={"type": "ListEvidence", "zone": "bad.test", "seconds": 0.02}),
        record("2", "DNSBL_BAD", "URIBL_URI_SPAM"),
        record("3"),
        record("4"),
    ]

    async def put() -> None:
        store = open_store(Settings(url=f"sqlite:{directory / 'state.db'}"))
        await store.put_records([stored(one) for one in records])
        await store.close()

    asyncio.run(put())
    return path


def test_a_table_says_what_each_list_was_worth(file):
    ended = call("dnsbl", "report", "-c", file)
    assert ended.status == 0
    lines = [line.split() for line in ended.out.splitlines()]
    assert lines[0] == ["4", "mails"]
    assert lines[2] == ["DNSBL_BAD", "bad.test", "2", "50.00%", "1", "1", "2", "0", "20", "ms", "20", "ms"]
    assert lines[3][:8] == ["URIBL_URI", "uri.test", "1", "25.00%", "0", "0", "1", "0"]
    assert "DNSBL_BAD: accept instead of tag for 1 mails (25.00%)" in ended.out
    assert "DNSBL_BAD: tag instead of reject for 1 mails (25.00%)" in ended.out


def test_json_has_everything(file):
    shown = json.loads(call("dnsbl", "report", "--json", "-c", file).out)
    assert [(one["name"], one["hits"], one["changed"]) for one in shown["lists"]] == [
        ("DNSBL_BAD", 2, {"tag>accept": 1, "reject>tag": 1}),
        ("URIBL_URI", 1, {"reject>tag": 1}),
    ]


def test_a_time_without_mail_is_said(file):
    ended = call("dnsbl", "report", "-c", file, "--until", "1970-01-01T00:00:01+00:00")
    assert (ended.status, ended.out, ended.err) == (0, "", "no record in that time\n")


def test_without_a_list_there_is_nothing_to_report(tmp_path, file):
    path = tmp_path / "none.toml"
    text = Path(file).read_text()
    path.write_text(text[: text.index("[[checks.dnsbl")] + text[text.index("[store]") :])
    assert "4 mails" in call("dnsbl", "report", "-c", str(path)).out


def test_a_time_that_is_none_is_a_mistake(file):
    assert call("dnsbl", "report", "-c", file, "--since", "yesterday").status == 2
