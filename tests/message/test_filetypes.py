import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatekeeper.message.filetypes import (
    Family,
    FileType,
    family_of_extension,
    family_of_media,
    may_hide_zip,
    type_of,
    type_of_whole,
)
from tests.support.archives import PROGRAM, cabinet, iso, ole, rar4, rar5, seven, zipped


@pytest.mark.parametrize(
    ("head", "filetype", "family"),
    [
        (PROGRAM, FileType.PE, Family.PROGRAM),
        (b"\x7fELF\x02", FileType.ELF, Family.PROGRAM),
        (b"\xca\xfe\xba\xbe\0\0\0\x02", FileType.MACH_O, Family.PROGRAM),
        (b"\xca\xfe\xba\xbe\0\0\0\x34", FileType.JAVA, Family.PROGRAM),
        (b"#!/bin/sh\n", FileType.SHELL, Family.TEXT),
        (b"#@~^xx", FileType.SCRIPT, Family.SCRIPT),
        (b"@echo off\r\n", FileType.SCRIPT, Family.SCRIPT),
        (b"<html><HTA:APPLICATION>", FileType.HTA, Family.SCRIPT),
        (b"\xff\xfe" + "<script>x".encode("utf-16-le"), FileType.HTML, Family.PAGE),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'>", FileType.SVG, Family.PAGE),
        (b"\xef\xbb\xbf  <!DOCTYPE html>", FileType.HTML, Family.PAGE),
        (b"[InternetShortcut]\r\nURL=x", FileType.URL, Family.SHORTCUT),
        (b"L\0\0\0\x01\x14\x02\0", FileType.LNK, Family.SHORTCUT),
        (zipped({"a": b"x"}), FileType.ZIP, Family.ARCHIVE),
        (rar4(["a"]), FileType.RAR, Family.ARCHIVE),
        (rar5(["a"]), FileType.RAR, Family.ARCHIVE),
        (seven(["a"]), FileType.SEVEN, Family.ARCHIVE),
        (cabinet(["a"]), FileType.CAB, Family.ARCHIVE),
        (iso({"a": b""}), FileType.ISO, Family.DISK),
        (b"conectix", FileType.VHD, Family.DISK),
        (ole({"a": b""}), FileType.OLE, Family.DOCUMENT),
        (b"junk %PDF-1.7", FileType.PDF, Family.DOCUMENT),
        (b"\x89PNG\r\n\x1a\n", FileType.PNG, Family.IMAGE),
        (b"RIFF....WEBP", FileType.WEBP, Family.IMAGE),
        (b"Dear all,\nhello", FileType.UNKNOWN, Family.OTHER),
        (b"", FileType.UNKNOWN, Family.OTHER),
    ],
)
def test_a_file_is_known_by_its_first_octets(head, filetype, family):
    assert type_of(head) is filetype
    assert filetype.family is family


@given(st.binary(max_size=600))
def test_any_octets_have_a_type(head):
    assert type_of(head) in FileType


def test_a_name_and_a_type_say_what_a_file_is_called():
    assert family_of_extension("exe") is Family.PROGRAM
    assert family_of_extension("nothing") is None
    assert family_of_media("image/png") is Family.IMAGE
    assert family_of_media("image/svg+xml") is Family.PAGE
    assert family_of_media("application/octet-stream") is None


def test_a_zip_is_told_by_its_end_where_its_beginning_is_another_thing():
    end = b"PK\5\6" + bytes(18)
    assert type_of_whole(memoryview(b"X" + end + bytes(65_535))) is FileType.ZIP
    assert type_of_whole(memoryview(b"X" + end + bytes(65_536))) is FileType.UNKNOWN
    assert type_of_whole(memoryview(b"{\\rtf" + end)) is FileType.RTF  # which is opened as what it is


def test_what_is_called_an_archive_or_is_nothing_known_and_called_a_document_may_be_a_zip():
    assert may_hide_zip(FileType.GIF, frozenset({Family.ARCHIVE}))
    assert may_hide_zip(FileType.UNKNOWN, frozenset({Family.DOCUMENT}))
    assert not may_hide_zip(FileType.PDF, frozenset({Family.DOCUMENT}))
    assert not may_hide_zip(FileType.RAR, frozenset({Family.ARCHIVE}))
