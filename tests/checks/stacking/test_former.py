"""The file of former addresses: what it may hold, and what an operator is told who got it wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper import copies
from gatekeeper.checks.stacking import former
from gatekeeper.checks.stacking.former import parse_former, read_former


def test_one_address_on_each_line_with_comments(tmp_path):
    file = tmp_path / "former"
    file.write_text("# who left\nAnna@Example.org\n\n  ben@example.org  # 2019\r\n")
    assert read_former(str(file)) == {"anna@example.org", "ben@example.org"}


@pytest.mark.parametrize("line", ["anna", "@example.org", "anna@", "an na@example.org", "<>", "postmaster"])
def test_a_line_that_is_no_address_is_named_with_its_number(line):
    with pytest.raises(ValueError, match=r"former:2: .* no address such as"):
        parse_former(f"ok@example.org\n{line}\n")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_former(str(tmp_path / "nothing"))
    (tmp_path / "octets").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_former(str(tmp_path / "octets"))


def test_a_process_that_starts_later_has_the_list_of_its_generation(tmp_path):
    file, snapshot = tmp_path / "former", tmp_path / "configuration1.toml"
    file.write_text("anna@example.org")
    with copies.beside(snapshot, making=True):
        read_former(str(file))
    file.write_text("half of an edit")
    with copies.beside(snapshot):
        assert read_former(str(file)) == {"anna@example.org"}


def test_too_large_a_file_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "former"
    file.write_text("".join(f"n{n}@example.org\n" for n in range(20)))
    monkeypatch.setattr(former, "MOST", 10)
    with pytest.raises(ValueError, match="has 20 addresses; at most 10"):
        read_former(str(file))
    monkeypatch.setattr(former, "SIZE_MOST", 10)
    with pytest.raises(ValueError, match="is larger than"):
        read_former(str(file))


@given(st.text())
def test_any_text_is_read_or_refused_with_a_sentence(text):
    try:
        found = parse_former(text)
    except ValueError as error:
        found, told = frozenset(), str(error)
    else:
        told = "former:"
    assert told.startswith("former:")
    assert all("@" in one and one == one.lower() for one in found)
