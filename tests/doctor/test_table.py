"""The table of promises, and the page that tells it."""

import re
from pathlib import Path

from gatekeeper.doctor.facts import Mode
from gatekeeper.doctor.promise import Always, Judge, Never
from gatekeeper.doctor.table import PROMISES

PAGE = Path(__file__).parents[2] / "docs" / "modes" / "README.md"
MODES = (Mode.FRONT, Mode.BEHIND, Mode.MILTER, Mode.POLICY)


def impossible(mode: Mode) -> set[str]:
    return {promise.name for promise in PROMISES if isinstance(promise.judges.get(mode), Never)}


def test_what_cannot_be_promised_in_each_mode():
    assert impossible(Mode.FRONT) == {"tls-shown"}
    assert impossible(Mode.BEHIND) == {"vrfy-seen", "harvest-seen", "wire", "slowed", "drop", "patience"}
    assert impossible(Mode.MILTER) == {"vrfy-seen", "wire", "slowed", "patience"}
    assert impossible(Mode.POLICY) == {"content", "leaving-seen", "wire"}
    assert impossible(Mode.ALL) == set()


def test_each_promise_has_a_name_and_a_sentence_of_its_own():
    assert len({promise.name for promise in PROMISES}) == len(PROMISES)
    assert all(promise.sentence.endswith(".") and promise.judges for promise in PROMISES)


def test_the_page_says_the_same_of_each_promise_in_each_mode():
    rows = re.findall(r"^\| `([a-z-]+)` \|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    told = {name: tuple(cell.strip() for cell in cells.split("|")[1:]) for name, cells in rows}
    expected = {
        promise.name: tuple(_cell(promise.judges.get(mode)) for mode in MODES)
        for promise in PROMISES
        if set(promise.judges) != {Mode.ALL}
    }
    assert told == expected


def test_the_page_names_each_promise_that_is_made_in_every_mode():
    page = PAGE.read_text()
    for promise in PROMISES:
        if Mode.ALL in promise.judges:
            assert f"- `{promise.name}`: " in page


def _cell(judge: Judge | None) -> str:
    if judge is None:
        return ""
    return "**no**" if isinstance(judge, Never) else "yes" if isinstance(judge, Always) else "if set so"
