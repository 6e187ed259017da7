"""What a process reads that starts later, while somebody edits."""

import os
from pathlib import Path

import pytest

from gatekeeper import copies


def read(path: Path) -> str:
    return Path(copies.readable(str(path))).read_text()


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    return tmp_path / "configuration1.toml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "some.list"
    made.write_text("first")
    return made


def test_what_was_copied_is_read_whatever_becomes_of_the_file(snapshot: Path, file: Path):
    with copies.beside(snapshot, making=True):
        assert read(file) == "first"
        file.write_text("half of an edit")
        assert read(file) == "first"
    assert read(file) == "half of an edit"
    file.unlink()
    with copies.beside(str(snapshot)):
        assert read(file) == "first"
    copies.forget(snapshot)
    with copies.beside(snapshot):
        assert copies.readable(str(file)) == str(file)
    copies.forget(snapshot)


def test_a_copy_has_the_files_time_and_is_for_us_alone(snapshot: Path, file: Path):
    os.utime(file, ns=(1, 2))
    with copies.beside(snapshot, making=True):
        copy = Path(copies.readable(str(file)))
    assert copy.stat().st_mtime_ns == 2
    assert copy.parent.stat().st_mode & 0o777 == 0o700


def test_only_who_makes_copies_makes_any(snapshot: Path, file: Path):
    with copies.beside(snapshot):
        assert copies.readable(str(file)) == str(file)
        assert copies.matching(f"{file.parent}/*.list") == [str(file)]
    assert list(snapshot.parent.iterdir()) == [file]


def test_each_snapshot_has_its_own(snapshot: Path, file: Path):
    other = snapshot.with_name("configuration2.toml")
    with copies.beside(snapshot, making=True):
        read(file)
    file.write_text("second")
    with copies.beside(other, making=True):
        assert read(file) == "second"
    with copies.beside(snapshot):
        assert read(file) == "first"


def test_the_files_of_a_pattern_stay_the_same(snapshot: Path, file: Path):
    pattern = f"{file.parent}/*.list"
    with copies.beside(snapshot, making=True):
        assert copies.matching(pattern) == [str(file)]
        assert copies.matching("/one/file") == ["/one/file"]
    file.with_name("new.list").write_text("")
    with copies.beside(snapshot):
        assert copies.matching(pattern) == [str(file)]
    assert copies.matching(pattern) == [str(file.with_name("new.list")), str(file)]


@pytest.mark.parametrize("name", ["gone", "a directory", "pipe", "large", "no\0name"])
def test_what_cannot_be_copied_is_left_to_who_reads_it(
    snapshot: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(copies, "LARGEST", 3)
    (tmp_path / "a directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("1234")
    path = str(tmp_path / name)
    with copies.beside(snapshot, making=True):
        assert copies.readable(path) == path
