"""Which files hold mail, and the messages in them."""

from pathlib import Path

import pytest

from gatekeeper.cli.learn_files import found, messages


def write(path: Path, octets: bytes = b"A: b\n\nc\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(octets)
    return path


def test_of_a_maildir_what_is_delivered_and_not_in_the_bin(tmp_path):
    for name in ("cur/1:2,S", "new/2", "cur/3:2,ST", "tmp/4", ".Archive/cur/5:2,", ".Archive/new/6", "dovecot.index"):
        write(tmp_path / name)
    for part in ("cur", "new", "tmp"):
        (tmp_path / ".Archive" / part).mkdir(exist_ok=True)
    assert sorted(file.name for file in found([tmp_path])) == ["1:2,S", "2", "5:2,", "6"]


def test_directories_are_gone_through_and_circles_are_not(tmp_path):
    write(tmp_path / "a" / "1.eml")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert found([tmp_path, tmp_path / "a" / "1.eml"]) == [tmp_path / "a" / "1.eml"] * 2


def test_a_path_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        found([tmp_path / "none"])


def test_a_file_is_a_message_and_an_mbox_is_many(tmp_path):
    assert list(messages(write(tmp_path / "1.eml"))) == [b"A: b\n\nc\n"]
    box = b"From a@b Sat Nov 28 10:00:00 2026\nA: 1\n\none\n\nFrom a@b Sat Nov 28 10:00:00 2026\nA: 2\n\ntwo\n"
    assert [one.split(b"\n")[0] for one in messages(write(tmp_path / "box", box))] == [b"A: 1", b"A: 2"]
