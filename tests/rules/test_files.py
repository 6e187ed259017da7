"""Which files hold rules, and what stands in them."""

import pytest

from gatekeeper import copies
from gatekeeper.rules import files
from gatekeeper.rules.files import read_files, shipped_directory, stamps


def test_the_shipped_files_come_first_and_a_star_is_in_the_order_of_names(tmp_path):
    for name in "ba":
        (tmp_path / f"{name}.toml").write_text(f"[RULE_{name.upper()}]")
    sources, problems = read_files([str(tmp_path / "*.toml")], shipped=True)
    assert problems == []
    names = [source.file.rpartition("/")[2] for source in sources]
    assert names[-2:] == ["a.toml", "b.toml"]
    assert len(names) > 5


def test_a_file_counts_once_and_a_star_may_find_nothing(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("")
    assert len(read_files([str(file), str(tmp_path / "*.toml"), "/nowhere/*.toml"], shipped=False)[0]) == 1


@pytest.mark.parametrize(
    ("octets", "said", "line"),
    [
        (None, "cannot be read: No such file", 0),
        (b"\xff", "save the file as UTF-8", 0),
        (b"[A]\nx = ", "not TOML", 2),
        (b"[A]\n[A]\n", "give one another", 2),
        (b'[A]\nseen = "\\d"', "single quotes", 2),
        (b"x = " + b"[" * 5000, "not TOML that can be read", 0),
        (b"#" * (files.LARGEST + 1), "split it", 0),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_the_mend(tmp_path, octets, said, line):
    file = tmp_path / "a.toml"
    if octets is not None:
        file.write_bytes(octets)
    sources, problems = read_files([str(file)], shipped=False)
    assert sources == []
    assert (problems[0].file, problems[0].line) == (str(file), line)
    assert said in problems[0].text


def test_a_file_that_changes_has_another_stamp(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("")
    before = stamps([str(tmp_path / "*.toml"), "/nowhere"], shipped=False)
    file.write_text("[A]")
    assert stamps([str(tmp_path / "*.toml"), "/nowhere"], shipped=False) != before


def test_a_process_that_starts_later_has_the_files_of_its_generation(tmp_path):
    rules, snapshot = tmp_path / "rules", tmp_path / "configuration1.toml"
    rules.mkdir()
    patterns = [str(rules / "*.toml"), str(rules / "b")]
    (rules / "a.toml").write_text("[A]")
    (rules / "b").write_text("[[wrong")
    with copies.beside(snapshot, making=True):
        before = read_files(patterns, shipped=True), stamps(patterns, shipped=True)
    (rules / "a.toml").write_text("[[half of an edit")
    (rules / "b").unlink()
    (rules / "c.toml").write_text("[C]")
    with copies.beside(snapshot):
        assert (read_files(patterns, shipped=True), stamps(patterns, shipped=True)) == before
    assert [problem.file for problem in before[0][1]] == [str(rules / "b")]  # people know no copies
    assert len(list((tmp_path / "configuration1.toml.files").iterdir())) == 3  # none of the shipped files


def test_inside_an_installed_package_the_rules_stand_beside_the_module(tmp_path, monkeypatch):
    assert shipped_directory().name == "rules"
    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr(files, "__file__", str(tmp_path / "files.py"))
    assert shipped_directory() == tmp_path / "shipped"
    assert [problem.path for problem in read_files([], shipped=True)[1]] == [("shipped",)]
