"""`gatekeeper learn`: from files, seen and taken back."""

import json
from pathlib import Path

import pytest

from tests.support.command_line import Ended, with_records
from tests.support.command_line import gatekeeper as call
from tests.support.lessons import OFFER, PLAIN, mail


class Site:
    """A configuration with a store, and the command."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = with_records(directory)

    def __call__(self, *arguments: str, typed: bytes = b"") -> Ended:
        return call("learn", *arguments, "-c", self.file, typed=typed)

    def listed(self, *arguments: str) -> list[dict[str, object]]:
        return json.loads(self("list", "--json", *arguments).out)  # type: ignore[no-any-return]

    def write(self, name: str, octets: bytes) -> str:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(octets)
        return str(path)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_files_are_learned_listed_and_taken_back(site):
    files = [site.write(f"{n}.eml", mail(OFFER, n)) for n in range(3)]
    assert site("spam", *files).out == "spam: 3 learned\n"
    assert site("ham", files[0]).out == "ham: 1 moved\n"
    assert site("spam", *files[1:]).out == "spam: 2 known\n"
    listed = site.listed()
    assert [one["class"] for one in listed].count("spam") == 2
    ids = [str(one["id"]) for one in listed]
    shown = site("list", "--limit", "2")
    assert shown.out.count("@sender.example") == 2
    assert "2 spam and 1 ham, 2 shown" in shown.err
    assert site("undo", ids[0][:8]).out == "taken back: 1\n"
    assert len(site.listed()) == 2
    again = site("undo", ids[0][:8])
    assert (again.status, "no such lesson" in again.err) == (2, True)


def test_what_one_user_taught_is_taken_back(site):
    one, other = (site.write(f"{n}.eml", mail(OFFER, n)) for n in range(2))
    site("spam", one, "--user", "ann")
    site("spam", other, "--user", "bob")
    assert len(site.listed("--user", "ann")) == 1
    assert site.listed("--user", "ann", "--since", "2099-01-01") == []
    assert site("undo", "--user", "ann", "--since", "1h").out == "taken back: 1\n"
    assert site("undo", "--user", "ann").status == 1
    assert len(site.listed()) == 1


def test_a_domains_own_lessons_are_told_apart(site):
    site("spam", site.write("1.eml", mail(OFFER, 1)), "--domain", "example.net")
    assert [one["kind"] for one in site.listed()] == ["domain:example.net"]
    file = site.write("1.eml", mail(OFFER, 1))
    assert site("spam", file, "--domain", "a b").status == 2
    site("spam", file)
    assert site("undo", str(site.listed()[0]["id"])).out == "taken back: 2\n"


def test_what_cannot_be_read_is_told_and_the_rest_learned(site):
    good, unreadable = site.write("1.eml", mail(PLAIN, 1)), str(site.directory / "none")
    ended = site("ham", good, unreadable)
    assert (ended.status, "No such file" in ended.err) == (2, True)
    empty = site("ham", site.write("empty/.keep/nothing", b""))
    assert (empty.status, empty.out) == (0, "ham: 1 empty\n")


@pytest.mark.parametrize(
    "arguments",
    [["spam"], ["undo"], [], ["spam", "--mail", "--imap"], ["ham", "x", "--imap"], ["undo", "zzz"]],
)
def test_what_makes_no_sense_is_status_2(site, arguments):
    assert site(*arguments).status == 2


def test_nothing_learned_is_said_so(site):
    assert "nothing was learned" in site("list").err
    assert site.listed() == []
